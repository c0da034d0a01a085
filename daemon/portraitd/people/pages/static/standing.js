"use strict";
// STATUS.html says everything without this script; here it learns the reader's language.

(() => {
  const spell = (element) => { element.textContent = Gallery.span(Number(element.dataset.span)); };
  const spellAll = () => document.querySelectorAll("[data-span]").forEach(spell);
  Gallery.begin(spellAll);
  spellAll();
  const written = document.querySelector("[data-written]");
  // Work that tells nothing for so long has stopped.
  const isSilent = Date.now() / 1000 - Number(written.dataset.written) > 900;
  document.getElementById("silent").hidden = !(isSilent && written.dataset.busy);
})();
