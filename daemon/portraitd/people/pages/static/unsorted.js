"use strict";
// Faces without a person, by whom they may show; the most likely people first.

(() => {
  const { translate, make } = Gallery;
  const PORTRAITS_AT_ONCE = 120;
  const at = (id) => document.getElementById(id);
  let page = null;

  function show() {
    document.title = translate("unsorted_title");
    if (!page) return;
    at("as-of").textContent = page.at ? translate("as_of", { date: Gallery.moment(page.at) }) : "";
    const groups = new Map();
    for (const one of page.portraits) {
      if (!groups.has(one[3])) groups.set(one[3], []);
      groups.get(one[3]).push(one);
    }
    // The portraits are sorted by probability, so the groups are, too: those similar to no person come last.
    const parts = [...groups].map(([id, portraits]) => part(id, portraits));
    at("groups").replaceChildren(...parts);
    if (!parts.length) at("groups").append(make("p", { class: "empty" }, translate("unsorted_none")));
  }

  function part(id, portraits) {
    const [name, folder, cover] = page.people[id] ?? [];
    const faces = Gallery.inSteps("portraits", portraits, PORTRAITS_AT_ONCE, portrait);
    return make(
      "section",
      { class: "part", "aria-labelledby": `title-${id}` },
      name
        ? make("h2", { id: `title-${id}` }, make("a", { href: `person.html#${id}`, dir: "auto" }, translate("unsorted_maybe", { name })))
        : make("h2", { id: `title-${id}` }, translate("unsorted_others")),
      name
        ? make("div", { class: "inside beside-cover" }, coverOf(id, name, cover && `../${folder}/${cover}`), faces)
        : make("div", { class: "inside" }, faces),
    );
  }

  // Whom they may be, to compare them with.
  const coverOf = (id, name, address) => make(
    "a",
    { href: `person.html#${id}`, "aria-label": name, class: "cover" },
    Gallery.picture(address, "", Gallery.initial(name)),
  );

  function portrait([id, index, seconds, person, probability, file]) {
    const video = page.videos[index];
    const time = video[1] ? "" : Gallery.clock(seconds);
    const recording = Gallery.recordingAddress(page.recordings, video, seconds);
    return Gallery.tile(
      `../${page.folder}/${Gallery.portraitFile(id, file)}`,
      translate(time ? "unsorted_at" : "unsorted_in", { video: video[0], time }),
      video[0],
      Gallery.linked(recording, time || (recording ? translate("open") : "")),
      person ? `${time || recording ? " · " : ""}${translate("percent", { n: Math.round(100 * probability) })}` : null,
    );
  }

  Gallery.on("unsorted", (value) => { page = value; show(); });
  Gallery.start(show);
  show();
  Gallery.load("data/unsorted.js", () => { page = { portraits: [], people: {} }; show(); });
})();
