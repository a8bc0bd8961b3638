// OHIF's configuration. One data source: this archive, by the session's cookie. Nothing is loaded from elsewhere, no
// address filters are read, no study list is shown (the console has its own, by POST, so that names stay out of addresses).
window.config = {
  name: "ribcage",
  routerBasename: "/viewer",
  extensions: [],
  modes: [],
  customizationService: [{ "ohif.tours": { $set: [] } }], // no tour stands on a first picture
  showStudyList: false,
  showPatientInfo: "visible",
  maxNumberOfWebWorkers: 3,
  useSharedArrayBuffer: "FALSE",
  showWarningMessageForCrossOrigin: false,
  showCPUFallbackMessage: true,
  showLoadingIndicator: true,
  strictZSpacingForVolumeViewport: true,
  investigationalUseDialog: { option: "never" }, // the overlay's line says it, without standing on the picture
  disableConfirmationPrompts: false,
  showErrorDetails: "production",
  maxNumRequests: { interaction: 20, thumbnail: 4, prefetch: 6 },
  defaultDataSourceName: "ribcage",
  dataSources: [
    {
      namespace: "@ohif/extension-default.dataSourcesModule.dicomweb",
      sourceName: "ribcage",
      configuration: {
        friendlyName: "Ribcage",
        name: "ribcage",
        qidoRoot: "/dicom-web",
        wadoRoot: "/dicom-web",
        qidoSupportsIncludeField: true,
        imageRendering: "wadors",
        thumbnailRendering: "wadors",
        enableStudyLazyLoad: true,
        supportsFuzzyMatching: false,
        supportsWildcard: true,
        supportsReject: false,
        staticWado: false,
        singlepart: "bulkdata,video",
        bulkDataURI: { enabled: true, relativeResolution: "studies" },
        omitQuotationForMultipartRequest: true,
        acceptHeader: ["application/octet-stream; transfer-syntax=*"], // frames: one part, in which no boundary is looked for
        stackRetrieveOptions: { retrieveOptions: { single: { streaming: false } } }, // a film is decoded once, when it is whole
        dicomUploadEnabled: false,
      },
    },
  ],
  httpErrorHandler: (error) => window.dispatchEvent(new CustomEvent("ribcage:refused", { detail: error?.status ?? 0 })),
};
