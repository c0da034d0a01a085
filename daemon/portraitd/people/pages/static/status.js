"use strict";
// Translates STATUS.html, which is complete in English without this script.

(() => {
  const translateDuration = (element) => {
    element.textContent = Gallery.duration(Number(element.dataset.duration));
  };
  const translateDurations = () =>
    document.querySelectorAll("[data-duration]").forEach(translateDuration);
  Gallery.start(translateDurations);
  translateDurations();
  const written = document.querySelector("[data-written]");
  // Without an update for 15 minutes, the service has probably stopped.
  const isSilent = Date.now() / 1000 - Number(written.dataset.written) > 900;
  document.getElementById("silent").hidden = !(isSilent && written.dataset.busy);
})();
