"use strict";
// The page of one person. The person's id is in the address: person.html#7.

(() => {
  const { translate, make } = Gallery;
  const PORTRAITS_AT_ONCE = 120;
  const VIDEOS_AT_ONCE = 8;
  const at = (id) => document.getElementById(id);
  let person = null;
  let requestedId = 0;

  function open() {
    const [id, ...state] = location.hash.slice(1).split("&");
    requestedId = Number.parseInt(id, 10) || 0;
    const place = new URLSearchParams(state.join("&"));
    if (requestedId) place.set("at", requestedId);
    at("back").href = `../index.html#${place}`;
    person = null;
    at("main").replaceChildren(make("p", { class: "empty" }, translate("loading")));
    if (!requestedId) return showMissing();
    return Gallery.load(`data/person-${String(requestedId).padStart(6, "0")}.js`, showMissing);
  }

  function showMissing() {
    at("main").replaceChildren(
      make("h1", {}, translate("person"), requestedId ? ` ${requestedId}` : ""),
      make("p", { class: "empty" }, translate("gone")),
    );
  }

  const source = (file) => `../${person.folder}/${file}`;
  const fileOf = ([id, , , , file]) => file || `${String(id).padStart(6, "0")}.jpg`;

  function show() {
    document.title = person.name;
    at("as-of").textContent = translate("as_of", { date: Gallery.moment(person.at) });
    at("table").href = `appearances/${String(person.id).padStart(6, "0")}.csv`;
    at("table").hidden = false;
    const videos = person.videos.filter((video) => !video[1]);
    at("main").replaceChildren(
      ...[
        head(),
        part("similar", "similar_why", person.similar.length && list("likely", person.similar.map(similarPerson))),
        part("outliers", "outliers_why", person.outliers.length && list("likely", person.outliers.map(outlier))),
        part("times", "", videos.length && inSteps("times", videos, VIDEOS_AT_ONCE, (video) => timeline(person, video))),
        part("photos", "", photos()),
        part(
          "portraits",
          person.portraits.some((one) => one[3]) ? "portraits_new" : "",
          person.portraits.length && inSteps("portraits", newFirst(), PORTRAITS_AT_ONCE, portrait),
        ),
      ].filter(Boolean),
    );
  }

  const newFirst = () => [...person.portraits].sort((a, b) => b[3] - a[3]);

  function head() {
    const address = person.picture ? source(person.picture) : "";
    const [first, last] = [person.first, person.last];
    const videos = person.videos.filter((video) => !video[1]).length;
    const fact = (word, ...value) => [make("dt", {}, translate(word)), make("dd", {}, ...value)];
    const seen = ([seconds, kind, video]) => translate("seen_in", { date: Gallery.date(seconds, kind), video });
    return make(
      "header",
      { class: "person-head" },
      Gallery.picture(address, person.full, translate("montage_of", { name: person.name }), Gallery.initial(person.name)),
      make(
        "div",
        {},
        make("h1", { dir: "auto", tabindex: "-1", id: "name" }, person.name),
        make(
          "dl",
          { class: "facts numbers" },
          ...fact("counts", translate("counts_in", {
            portraits: translate("portraits", { n: person.portraits.length }),
            faces: translate("faces", { n: person.faces }),
            files: Gallery.fileCounts(videos, person.videos.length - videos),
          })),
          ...fact("first", seen(first)),
          ...fact("last", seen(last)),
          ...fact("number", String(person.id)),
          ...fact("folder", make("a", { href: source(""), dir: "auto" }, person.folder_name)),
        ),
        person.new_faces
          ? make("p", { class: "marks" }, make("span", { class: "mark" }, translate("mark_new", { n: person.new_faces })))
          : null,
        person.indistinct
          ? make("p", { class: "quiet", id: "indistinct" }, translate("indistinct_person"), person.better_model ? ` ${translate("add_recommended")}` : "")
          : null,
      ),
    );
  }

  function part(title, why, inside) {
    if (!inside) return null;
    return make(
      "section",
      { class: "part", id: `part-${title}`, "aria-labelledby": `title-${title}` },
      make("h2", { id: `title-${title}`, tabindex: "-1" }, translate(title)),
      why ? make("p", { class: "quiet" }, translate(why)) : null,
      make("div", { class: "inside" }, inside),
    );
  }

  const list = (kind, items) => make("ul", { class: kind }, ...items);

  // The first items, and a button that adds the next ones.
  function inSteps(kind, values, step, build) {
    const visible = list(kind, values.slice(0, step).map(build));
    const box = make("div", {}, visible);
    let done = Math.min(step, values.length);
    if (done === values.length) return box;
    const button = make("button", { type: "button", class: "more" });
    const label = () => { button.textContent = translate("more", { n: Math.min(step, values.length - done) }); };
    button.addEventListener("click", () => {
      const added = values.slice(done, done + step).map(build);
      visible.append(...added);
      done += added.length;
      added[0].querySelector("a, summary")?.focus();
      if (done === values.length) button.remove();
      else label();
    });
    label();
    box.append(button);
    return box;
  }

  function describe(one) {
    const [, index, seconds] = one;
    const [video, isPhoto] = person.videos[index];
    const time = isPhoto ? "" : Gallery.clock(seconds);
    const label = translate(isPhoto ? "portrait_in" : "portrait_of", { name: person.name, video, time });
    return { video, time, label };
  }

  function portrait(one) {
    const { video, time, label } = describe(one);
    const address = source(fileOf(one));
    return make(
      "li",
      {},
      make(
        "a",
        { href: address, title: label },
        Gallery.picture(address, 0, label, "?"),
        make(
          "span",
          { class: "line", "aria-hidden": "true" },
          make("span", { class: "video", dir: "auto" }, video),
          time,
          one[3] ? make("span", { class: "mark" }, translate("new")) : null,
        ),
      ),
    );
  }

  function outlier([index, distance, median]) {
    const one = person.portraits[index];
    const { video, time, label } = describe(one);
    const address = source(fileOf(one));
    return make(
      "li",
      {},
      make(
        "a",
        { href: address },
        Gallery.picture(address, 0, label, "?"),
        make(
          "span",
          { class: "small numbers" },
          make("strong", {}, translate("distance", { n: Gallery.decimal(distance) })),
          `, ${translate("median", { n: Gallery.decimal(median) })}`,
          make("span", { class: "quiet" }, make("br"), video, make("br"), time),
          make("span", { class: "quiet" }, make("br"), fileOf(one)),
        ),
      ),
    );
  }

  function similarPerson([id, name, folder, file, full, isLikely]) {
    const state = at("back").hash.slice(1).replace(/&?at=\d+/, "");
    return make(
      "li",
      {},
      make(
        "a",
        { href: `#${id}${state ? `&${state}` : ""}` },
        Gallery.picture(file ? `../${folder}/${file}` : "", full, "", Gallery.initial(name)),
        make(
          "span",
          {},
          make("strong", { dir: "auto" }, name),
          make("span", { class: "quiet small" }, make("br"), translate(isLikely ? "very_likely" : "maybe")),
        ),
      ),
    );
  }

  function photos() {
    const names = person.videos
      .filter((video) => video[1])
      .map(([name, , , seconds, , kind]) => `${name} (${Gallery.date(seconds, kind)})`);
    return names.length ? make("p", { class: "quiet", dir: "auto" }, names.join(" · ")) : null;
  }

  Gallery.on("person", (value) => {
    // A slow file may arrive after the next person was requested.
    if (value.id !== requestedId) return;
    person = value;
    show();
    at("name").focus({ preventScroll: true });
    scrollTo(0, 0);
  });

  at("skip").addEventListener("click", (event) => {
    event.preventDefault();
    const title = at("title-portraits");
    title?.scrollIntoView();
    title?.focus();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) location.href = at("back").href;
  });
  window.addEventListener("hashchange", open);

  Gallery.start(() => person && show());
  open();
})();
