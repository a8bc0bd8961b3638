// What OHIF expects of its page, outside index.html so that no inline script has to be allowed.
window.PUBLIC_URL = "/viewer/";
window.browserImportFunction = (name) => import(name);
