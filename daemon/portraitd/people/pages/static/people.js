"use strict";
// The index page: search, filters, sorting, paging, and keyboard navigation.

(() => {
  const { translate, make, peopleRows } = Gallery;
  const PER_PAGE = 60;
  const at = (id) => document.getElementById(id);
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

  // The rows of data/people-….js.
  const people = peopleRows.map((row) => {
    const [
      id, name, named, folder, cover, portraits, faces, videos, photos, first, last,
      newFaces, outliers, similar, firstKind, lastKind,
    ] = row;
    return {
      id, name, named: Boolean(named), folder, cover, portraits, faces, videos, photos,
      first, last, firstKind, lastKind, newFaces, outliers, similar, searchText: plain(`${name} ${id}`),
    };
  });

  const filters = {
    all: () => true,
    named: (one) => one.named,
    unnamed: (one) => !one.named,
    new: (one) => one.newFaces > 0,
    check: (one) => one.outliers > 0 || one.similar > 0,
  };
  // One collator for all comparisons: creating one for each of thousands takes seconds.
  const collator = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const orders = {
    portraits: (a, b) => b.portraits - a.portraits || a.id - b.id,
    name: (a, b) => b.named - a.named || collator.compare(a.name, b.name) || a.id - b.id,
    last: (a, b) => b.last - a.last || a.id - b.id,
    number: (a, b) => a.id - b.id,
  };

  // The state is in the address, so that reload, links and the back button restore it.
  const state = { q: "", show: "all", order: "portraits", page: 1 };
  let found = [];
  let returnTo = 0;

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    state.q = given.get("q") ?? "";
    state.show = filters[given.get("show")] ? given.get("show") : "all";
    state.order = orders[given.get("order")] ? given.get("order") : "portraits";
    state.page = Math.max(1, Number.parseInt(given.get("page"), 10) || 1);
    returnTo = Number.parseInt(given.get("at"), 10) || 0;
  }

  function address(extra = {}) {
    const params = new URLSearchParams();
    if (state.q) params.set("q", state.q);
    if (state.show !== "all") params.set("show", state.show);
    if (state.order !== "portraits") params.set("order", state.order);
    if (state.page > 1) params.set("page", state.page);
    for (const [key, value] of Object.entries(extra)) params.set(key, value);
    return params.toString();
  }

  const storeAddress = (extra) => history.replaceState(null, "", `#${address(extra)}`);

  function renderList() {
    const terms = plain(state.q).split(/\s+/).filter(Boolean);
    const matches = (one) => terms.every((term) => one.searchText.includes(term));
    found = people.filter((one) => filters[state.show](one) && matches(one)).sort(orders[state.order]);
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    state.page = Math.min(state.page, pages);
    const visible = found.slice((state.page - 1) * PER_PAGE, state.page * PER_PAGE);
    at("people").replaceChildren(...visible.map(card));
    at("found").textContent = translate("people", { n: found.length });
    at("empty").hidden = found.length > 0;
    renderEmpty();
    at("pager").hidden = pages < 2;
    at("where").textContent = translate("page", { n: state.page, of: pages });
    at("previous").disabled = state.page <= 1;
    at("next").disabled = state.page >= pages;
    for (const button of at("filters").children) {
      button.setAttribute("aria-pressed", String(button.value === state.show));
    }
  }

  function renderEmpty() {
    const [videos, photos] = Gallery.statusData?.searched ?? [0, 0];
    let text = translate("no_match");
    if (!people.length) text = translate("no_people");
    if (!people.length && videos + photos) {
      text = translate("no_faces", { files: Gallery.fileCounts(videos, photos) });
    }
    at("empty").textContent = text;
  }

  function card(one) {
    const href = `gallery/person.html#${one.id}${address() ? `&${address()}` : ""}`;
    const source = one.cover ? `${one.folder}/${one.cover}` : "";
    const marks = [];
    if (one.newFaces) marks.push(make("span", { class: "mark" }, newMark(one)));
    if (one.outliers) marks.push(make("span", { class: "mark check" }, translate("mark_outliers", { n: one.outliers })));
    if (one.similar) marks.push(make("span", { class: "mark check" }, translate("mark_similar", { n: one.similar })));
    const link = make(
      "a",
      { class: "person", href, "data-id": one.id },
      Gallery.picture(source, "", Gallery.initial(one.name)),
      make(
        "span",
        { class: "about" },
        make("span", { class: one.named ? "name" : "name unnamed", dir: "auto" }, one.name),
        make("span", { class: "line" }, translate("card", {
          portraits: translate("portraits", { n: one.portraits }), files: Gallery.fileCounts(one.videos, one.photos),
        })),
        make("span", { class: "line" }, Gallery.dates([one.first, one.firstKind], [one.last, one.lastKind])),
        marks.length ? make("span", { class: "marks" }, ...marks) : null,
      ),
    );
    return make("li", {}, link);
  }

  function newMark(one) {
    if (one.newFaces >= one.faces) return translate("mark_all_new");
    return translate("mark_new", { n: one.newFaces });
  }

  function render() {
    const facts = Gallery.summaryData;
    if (facts) {
      at("counted").textContent = translate("counted", {
        people: translate("people", { n: facts.people }),
        files: Gallery.fileCounts(facts.videos, facts.photos),
      });
      at("unsorted").hidden = !facts.unsorted;
      at("unsorted-link").textContent = translate("unsorted", { n: facts.unsorted });
      at("as-of").textContent = facts.at ? translate("as_of", { date: Gallery.moment(facts.at) }) : "";
      at("indistinct").hidden = !facts.indistinct;
      at("indistinct").textContent = facts.indistinct
        ? `${translate("indistinct_faces", { n: facts.indistinct })}${facts.better_model ? ` ${translate("add_recommended")}` : ""}`
        : "";
      const hasNew = Boolean(facts.since && (facts.new_people || facts.new_faces));
      at("new").hidden = !hasNew;
      if (hasNew) {
        at("new-text").textContent = translate(facts.new_people ? "new_people" : "new_faces", {
          date: Gallery.moment(facts.since),
          people: translate("people", { n: facts.new_people }),
          faces: translate("faces", { n: facts.new_faces }),
        });
      }
    }
    at("filters").replaceChildren(...Object.keys(filters).map(filterButton));
    at("keys").replaceChildren(...keyHelp());
    at("search").value = state.q;
    at("order").value = state.order;
    renderStatus();
    renderList();
  }

  function filterButton(name) {
    const count = people.filter(filters[name]).length;
    const number = make("span", { class: "count" }, count.toLocaleString(Gallery.locale));
    const button = make("button", { type: "button", value: name, disabled: !count && name !== "all" });
    button.append(translate(`show_${name}`), number);
    button.addEventListener("click", () => change({ show: name }));
    return button;
  }

  function keyHelp() {
    const keys = { "{slash}": "/", "{arrows}": "← ↑ ↓ →", "{enter}": "↵" };
    return translate("keys").split(/(\{\w+\})/).map((part) => (keys[part] ? make("kbd", {}, keys[part]) : part));
  }

  function renderStatus() {
    const now = Gallery.statusData;
    if (!now) return;
    const stage = translate(`stage_${now.stage}`);
    const values = { stage, percent: now.percent, time: now.eta_s ? Gallery.duration(now.eta_s) : "" };
    const isBusy = !["idle", "stopped"].includes(now.stage);
    const isCounted = now.stage === "faces" && now.percent < 100;
    const isBlocked = Boolean(now.blocked?.length) && now.stage !== "stopped";
    let line = isBlocked ? translate("blocked") : stage;
    if (isCounted && !isBlocked) line = translate(now.eta_s ? "line_left" : "line_busy", values);
    if (now.failed) line += ` · ${translate("line_failed", { n: now.failed })}`;
    at("state").textContent = line;
    delete at("state").dataset.text;
    at("dot").className = `dot${now.failed || isBlocked ? " failed" : isBusy ? " busy" : ""}`;
    Gallery.renderReview(now);
    renderEmpty();
  }

  function change(changes) {
    Object.assign(state, { page: 1 }, changes);
    storeAddress();
    renderList();
  }

  function turnTo(page, place) {
    change({ page });
    const cards = at("people").querySelectorAll("a");
    cards[place === "last" ? cards.length - 1 : 0]?.focus();
    if (place !== "last") at("people").scrollIntoView({ block: "start" });
  }

  // Arrow keys move between cards in rows and columns, and on to the next or previous page.
  function move(key) {
    const cards = [...at("people").querySelectorAll("a")];
    const here = cards.indexOf(document.activeElement);
    const top = cards[0]?.getBoundingClientRect().top;
    const columns = Math.max(1, cards.filter((one) => one.getBoundingClientRect().top === top).length);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const target = { Home: 0, End: cards.length - 1 }[key] ?? here + steps[key];
    if (cards[target]) cards[target].focus();
    else if (key === "ArrowUp") at("search").focus();
    else if (target >= cards.length && !at("next").disabled) turnTo(state.page + 1, "first");
    else if (target < 0 && !at("previous").disabled) turnTo(state.page - 1, "last");
  }

  const ARROWS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"];
  const KEYS = [...ARROWS, "Home", "End"];

  const firstVisibleCard = () => [...at("people").querySelectorAll("a")]
    .find((one) => one.getBoundingClientRect().bottom > 0);

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const isCard = document.activeElement?.matches?.("a.person");
    const isTyping = document.activeElement?.matches?.("input, select");
    if (event.key === "/" && !isTyping) at("search").focus();
    else if (isCard && KEYS.includes(event.key)) move(event.key);
    else if (document.activeElement === document.body && ARROWS.includes(event.key)) {
      // The first key press of a reader who has not touched the page yet.
      firstVisibleCard()?.focus();
    }
    else if (event.key === "ArrowDown" && document.activeElement === at("search")) {
      at("people").querySelector("a")?.focus();
    } else if (event.key === "Escape" && (isCard || document.activeElement === at("search"))) {
      at("search").value = "";
      change({ q: "" });
      at("search").focus();
    } else return;
    event.preventDefault();
  });

  at("search").addEventListener("input", () => change({ q: at("search").value }));
  at("order").addEventListener("change", () => change({ order: at("order").value }));
  at("tools").addEventListener("submit", (event) => {
    event.preventDefault();
    at("people").querySelector("a")?.focus();
  });
  at("previous").addEventListener("click", () => turnTo(state.page - 1, "first"));
  at("next").addEventListener("click", () => turnTo(state.page + 1, "first"));
  at("people").addEventListener("click", (event) => {
    const link = event.target.closest("a.person");
    // On return, this card gets the focus.
    if (link) storeAddress({ at: link.dataset.id });
  });
  window.addEventListener("hashchange", () => {
    if (location.hash === "#people") return;
    readAddress();
    render();
  });

  function restoreFocus() {
    if (returnTo) at("people").querySelector(`a[data-id="${returnTo}"]`)?.focus();
  }
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) {
      readAddress();
      restoreFocus();
    }
  });

  // The status changes while the page is open.
  Gallery.on("status", renderStatus);
  setInterval(() => document.hidden || Gallery.load("gallery/data/status.js"), 10_000);

  readAddress();
  Gallery.start(() => { render(); document.title = translate("title"); });
  document.title = translate("title");
  render();
  const showNew = make("button", { type: "button", "data-text": "show_new_people" }, translate("show_new_people"));
  showNew.addEventListener("click", () => change({ show: "new" }));
  at("new").append(showNew);
  restoreFocus();
})();
