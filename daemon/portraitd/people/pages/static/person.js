"use strict";
// The page of one person. The person's id is in the address: person.html#7.

(() => {
  const { translate, make, list, inSteps, linked } = Gallery;
  const PORTRAITS_AT_ONCE = 120;
  const VIDEOS_AT_ONCE = 8;
  const at = (id) => document.getElementById(id);
  const PHOTOS_AT_ONCE = 12;
  const orders = {
    new: (a, b) => b[3] - a[3],
    best: (a, b) => a[4] - b[4],
    doubtful: (a, b) => a[5] - b[5],
  };
  let person = null;
  let requestedId = 0;
  let order = "new";

  function open() {
    const [id, ...state] = location.hash.slice(1).split("&");
    requestedId = Number.parseInt(id, 10) || 0;
    const place = new URLSearchParams(state.join("&"));
    if (requestedId) place.set("at", requestedId);
    at("back").href = `../index.html#${place}`;
    person = null;
    at("main").replaceChildren(make("p", { class: "empty" }, translate("loading")));
    if (!requestedId) return showMissing();
    return Gallery.loadPerson(requestedId, showMissing);
  }

  function showMissing() {
    at("main").replaceChildren(
      make("h1", {}, translate("person"), requestedId ? ` ${requestedId}` : ""),
      make("p", { class: "empty" }, translate("gone")),
    );
  }

  const source = (file) => `../${person.folder}/${file}`;
  const fileOf = ([id, , , , , , file]) => Gallery.portraitFile(id, file);

  function show() {
    document.title = person.name;
    at("as-of").textContent = translate("as_of", { date: Gallery.moment(person.at) });
    at("table").href = `appearances/${Gallery.sixDigits(person.id)}.csv`;
    at("table").hidden = false;
    const videos = person.videos.filter((video) => !video[1]);
    at("main").replaceChildren(
      ...[
        head(),
        naming(),
        part("similar", "similar_why", person.similar.length && list("likely", person.similar.map(similarPerson))),
        part("outliers", "outliers_why", person.outliers.length && list("likely", person.outliers.map(outlier))),
        part("times", "", videos.length && inSteps("times", videos, VIDEOS_AT_ONCE, (video) => timeline(person, video, linkTo))),
        part("photos", "", photos()),
        part("portraits", "", person.portraits.length && portraits()),
        part("montage", "", montage()),
      ].filter(Boolean),
    );
    for (const [place, id] of [["before", person.neighbours[0]], ["after", person.neighbours[1]]]) {
      at(place).hidden = !id;
      at(place).href = addressOf(id);
    }
  }

  // The page of another person; the way back to the index stays the same.
  function addressOf(id) {
    const state = at("back").hash.slice(1).replace(/&?at=\d+/, "");
    return `#${id}${state ? `&${state}` : ""}`;
  }

  const linkTo = (video, seconds) => Gallery.recordingAddress(person.recordings, video, seconds);

  // How to name this person, and where the folder is.
  function naming() {
    if (person.named) return null;
    const path = Gallery.folderPath(person.folder);
    return make(
      "p",
      { class: "naming", id: "naming" },
      make("span", {}, translate("rename_to_name")),
      " ",
      make("code", { dir: "auto" }, path),
      Gallery.copyButton(path),
    );
  }

  function montage() {
    if (!person.montage) return null;
    const address = source(person.montage);
    const label = translate("montage_of", { name: person.name });
    return make(
      "a",
      { href: address, class: "montage", "aria-label": label },
      Gallery.picture(address, "", Gallery.initial(person.name)),
    );
  }

  function portraits() {
    const has = { new: person.portraits.some((one) => one[3]), best: true, doubtful: true };
    if (!has[order]) order = "best";
    const choices = Object.keys(orders).filter((one) => has[one]);
    const select = make("select", { id: "portrait-order" });
    for (const one of choices) select.append(make("option", { value: one }, translate(`order_${one}`)));
    select.value = order;
    const grid = () => inSteps("portraits", [...person.portraits].sort(orders[order]), PORTRAITS_AT_ONCE, portrait);
    const box = make("div", {}, grid());
    select.addEventListener("change", () => {
      order = select.value;
      box.replaceChildren(grid());
    });
    return make(
      "div",
      {},
      make("label", { class: "order quiet small" }, make("span", {}, translate("order")), " ", select),
      box,
    );
  }

  function head() {
    const address = person.cover ? source(person.cover) : "";
    const [first, last] = [person.first, person.last];
    const videos = person.videos.filter((video) => !video[1]).length;
    const fact = (word, ...value) => [make("dt", {}, translate(word)), make("dd", {}, ...value)];
    const seen = ([seconds, kind, video]) => translate("seen_in", { date: Gallery.date(seconds, kind), video });
    return make(
      "header",
      { class: "person-head" },
      Gallery.picture(address, translate("portrait_best", { name: person.name }), Gallery.initial(person.name)),
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

  function describe(one) {
    const [, index, seconds] = one;
    const [video, isPhoto] = person.videos[index];
    const time = isPhoto ? "" : Gallery.clock(seconds);
    const label = translate(isPhoto ? "portrait_in" : "portrait_of", { name: person.name, video, time });
    return { video, time, label, recording: linkTo(person.videos[index], seconds) };
  }

  function portrait(one) {
    const { video, time, label, recording } = describe(one);
    return Gallery.tile(
      source(fileOf(one)),
      label,
      video,
      linked(recording, time || (recording ? translate("open") : "")),
      one[3] ? make("span", { class: "mark" }, translate("new")) : null,
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
        Gallery.picture(address, label, "?"),
        make(
          "span",
          { class: "small numbers" },
          make("strong", {}, translate("distance", { n: Gallery.decimal(distance) })),
          `, ${translate("median", { n: Gallery.decimal(median) })}`,
          make("span", { class: "quiet", title: video }, make("br"), Gallery.shortened(video, 40), make("br"), time),
          make("span", { class: "quiet" }, make("br"), fileOf(one)),
        ),
      ),
    );
  }

  function similarPerson([id, name, folder, file, isLikely]) {
    return make(
      "li",
      {},
      make(
        "a",
        { href: addressOf(id) },
        Gallery.picture(file ? `../${folder}/${file}` : "", "", Gallery.initial(name)),
        make(
          "span",
          {},
          make("strong", { dir: "auto" }, name),
          make("span", { class: "quiet small" }, make("br"), translate(isLikely ? "very_likely" : "maybe")),
        ),
      ),
      make("a", { class: "small beside", href: `compare.html#${person.id},${id}` }, translate("compare")),
    );
  }

  function photos() {
    const all = person.videos.filter((video) => video[1]);
    if (!all.length) return null;
    return inSteps("names", all, PHOTOS_AT_ONCE, (video) => {
      const [name, , , seconds, , kind] = video;
      return make(
        "li",
        {},
        linked(linkTo(video), make("span", { dir: "auto", title: name }, Gallery.shortened(name, 44))),
        make("span", { class: "quiet small numbers" }, ` ${Gallery.date(seconds, kind)}`),
      );
    });
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
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.matches?.("input, select, textarea")) return;
    if (event.key === "Escape") location.href = at("back").href;
    const neighbour = { ArrowLeft: "before", ArrowRight: "after" }[event.key];
    if (neighbour && !at(neighbour).hidden) location.href = at(neighbour).href;
  });
  window.addEventListener("hashchange", open);

  Gallery.start(() => person && show());
  open();
})();
