"use strict";
// Two people side by side. Their ids are in the address: compare.html#7,12.

(() => {
  const { translate, make } = Gallery;
  const PORTRAITS = 24;
  const at = (id) => document.getElementById(id);
  let ids = [];
  let loaded = new Map();

  function open() {
    ids = location.hash.slice(1).split(",").map((id) => Number.parseInt(id, 10) || 0).slice(0, 2);
    loaded = new Map();
    at("back").href = `../index.html${ids[0] ? `#at=${ids[0]}` : ""}`;
    show();
    for (const id of ids) {
      Gallery.loadPerson(id, () => { loaded.set(id, null); show(); });
    }
  }

  function show() {
    document.title = translate("compare_title");
    at("two").replaceChildren(...ids.map(column));
  }

  function column(id) {
    const person = loaded.get(id);
    if (!person) {
      const text = translate(person === null ? "gone" : "loading");
      return make("section", { class: "side" }, make("p", { class: "empty" }, text));
    }
    const videos = person.videos.filter((video) => !video[1]).length;
    const best = [...person.portraits].sort((a, b) => a[4] - b[4]).slice(0, PORTRAITS);
    const path = Gallery.folderPath(person.folder);
    return make(
      "section",
      { class: "side", "aria-labelledby": `name-${id}` },
      make("h2", { id: `name-${id}`, dir: "auto" }, make("a", { href: `person.html#${id}` }, person.name)),
      make("p", { class: "quiet small numbers" }, translate("card", {
        portraits: translate("portraits", { n: person.portraits.length }),
        files: Gallery.fileCounts(videos, person.videos.length - videos),
      })),
      make("p", { class: "quiet small numbers" }, Gallery.dates(person.first.slice(0, 2), person.last.slice(0, 2))),
      make("p", { class: "naming small" }, make("code", { dir: "auto" }, path), Gallery.copyButton(path)),
      make("ul", { class: "portraits" }, ...best.map((one) => portrait(person, one))),
    );
  }

  function portrait(person, [id, index, seconds, , , , file]) {
    const [video, isPhoto] = person.videos[index];
    const time = isPhoto ? "" : Gallery.clock(seconds);
    const address = `../${person.folder}/${Gallery.portraitFile(id, file)}`;
    const text = translate(time ? "portrait_of" : "portrait_in", { name: person.name, video, time });
    return Gallery.tile(address, text, video, time ? make("span", {}, time) : null);
  }

  Gallery.on("person", (person) => {
    if (!ids.includes(person.id)) return;
    loaded.set(person.id, person);
    show();
  });
  window.addEventListener("hashchange", open);
  Gallery.start(show);
  open();
})();
