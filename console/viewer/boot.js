// What OHIF expects of its page, outside index.html so that no inline script has to be allowed.
window.PUBLIC_URL = "/viewer/";
window.browserImportFunction = (name) => import(name);

// OHIF logs whole objects, the patient module among them; the browser's log is no place for it. Warnings stay.
console.log = console.debug = console.info = () => undefined;
