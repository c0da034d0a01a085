"use strict";
// The page of all people: search, filters, order, pages, and the way around by keyboard.

(() => {
  const { say, make, everybody } = Gallery;
  const PER_PAGE = 60;
  const at = (id) => document.getElementById(id);
  const plain = (text) => text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase();

  // A row as data/people-….js has it.
  const everyone = everybody.map((row) => {
    const [id, name, named, folder, picture, full, portraits, faces, clips, first, last, fresh, doubtful, close] = row;
    return {
      id, name, named: Boolean(named), folder, picture, full, portraits, faces, clips, first, last,
      fresh, doubtful, close, words: plain(`${name} ${id}`),
    };
  });

  const filters = {
    all: () => true,
    named: (one) => one.named,
    unnamed: (one) => !one.named,
    new: (one) => one.fresh > 0,
    check: (one) => one.doubtful > 0 || one.close > 0,
  };
  // Made once: with thousands of names a comparer made anew for each pair takes seconds.
  const comparer = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const orders = {
    faces: (a, b) => b.portraits - a.portraits || a.id - b.id,
    name: (a, b) => b.named - a.named || comparer.compare(a.name, b.name) || a.id - b.id,
    last: (a, b) => b.last - a.last || a.id - b.id,
    number: (a, b) => a.id - b.id,
  };

  // Where one stands is in the address: a reload, a link and the way back lead there.
  const state = { q: "", show: "all", order: "faces", page: 1 };
  let found = [];
  let came = 0;

  function readAddress() {
    const given = new URLSearchParams(location.hash.slice(1));
    state.q = given.get("q") ?? "";
    state.show = filters[given.get("show")] ? given.get("show") : "all";
    state.order = orders[given.get("order")] ? given.get("order") : "faces";
    state.page = Math.max(1, Number.parseInt(given.get("page"), 10) || 1);
    came = Number.parseInt(given.get("at"), 10) || 0;
  }

  function address(extra = {}) {
    const wanted = new URLSearchParams();
    if (state.q) wanted.set("q", state.q);
    if (state.show !== "all") wanted.set("show", state.show);
    if (state.order !== "faces") wanted.set("order", state.order);
    if (state.page > 1) wanted.set("page", state.page);
    for (const [key, value] of Object.entries(extra)) wanted.set(key, value);
    return wanted.toString();
  }

  const note = (extra) => history.replaceState(null, "", `#${address(extra)}`);

  function refresh() {
    const asked = plain(state.q).split(/\s+/).filter(Boolean);
    const matches = (one) => asked.every((word) => one.words.includes(word));
    found = everyone.filter((one) => filters[state.show](one) && matches(one)).sort(orders[state.order]);
    const pages = Math.max(1, Math.ceil(found.length / PER_PAGE));
    state.page = Math.min(state.page, pages);
    const shown = found.slice((state.page - 1) * PER_PAGE, state.page * PER_PAGE);
    at("people").replaceChildren(...shown.map(card));
    at("found").textContent = say("people", { n: found.length });
    at("empty").hidden = found.length > 0;
    at("empty").textContent = say(everyone.length ? "nobody" : "nobody_yet");
    at("pager").hidden = pages < 2;
    at("where").textContent = say("page", { n: state.page, of: pages });
    at("earlier").disabled = state.page <= 1;
    at("later").disabled = state.page >= pages;
    for (const button of at("filters").children) {
      button.setAttribute("aria-pressed", String(button.value === state.show));
    }
  }

  function card(one) {
    const href = `gallery/person.html#${one.id}${address() ? `&${address()}` : ""}`;
    const source = one.picture ? `${one.folder}/${one.picture}` : "";
    const marks = [];
    if (one.fresh) marks.push(make("span", { class: "mark" }, newness(one)));
    if (one.doubtful) marks.push(make("span", { class: "mark check" }, say("mark_outliers", { n: one.doubtful })));
    if (one.close) marks.push(make("span", { class: "mark check" }, say("mark_close", { n: one.close })));
    const link = make(
      "a",
      { class: "person", href, "data-id": one.id },
      Gallery.picture(source, one.full, "", Gallery.initial(one.name)),
      make(
        "span",
        { class: "about" },
        make("span", { class: one.named ? "name" : "name unnamed", dir: "auto" }, one.name),
        make("span", { class: "line" }, say("card", {
          portraits: say("portraits", { n: one.portraits }), clips: say("clips", { n: one.clips }),
        })),
        make("span", { class: "line" }, Gallery.days(one.first, one.last)),
        marks.length ? make("span", { class: "marks" }, ...marks) : null,
      ),
    );
    return make("li", {}, link);
  }

  function newness(one) {
    if (one.fresh >= one.faces) return say("mark_all_new");
    return say("mark_new", { n: one.fresh });
  }

  function frame() {
    const facts = Gallery.facts;
    if (facts) {
      at("counted").textContent = say("counted", {
        people: say("people", { n: facts.people }), clips: say("clips", { n: facts.clips }),
      });
      at("as-of").textContent = facts.at ? say("as_of", { date: Gallery.moment(facts.at) }) : "";
      const isNews = Boolean(facts.since && (facts.new_people || facts.new_faces));
      at("news").hidden = !isNews;
      if (isNews) {
        at("news-text").textContent = say(facts.new_people ? "news" : "news_faces", {
          date: Gallery.moment(facts.since),
          people: say("people", { n: facts.new_people }),
          faces: say("faces", { n: facts.new_faces }),
        });
      }
    }
    at("filters").replaceChildren(...Object.keys(filters).map(filterButton));
    at("keys").replaceChildren(...keyWords());
    at("search").value = state.q;
    at("order").value = state.order;
    standing();
    refresh();
  }

  function filterButton(name) {
    const count = everyone.filter(filters[name]).length;
    const number = make("span", { class: "count" }, count.toLocaleString(Gallery.locale));
    const button = make("button", { type: "button", value: name, disabled: !count && name !== "all" });
    button.append(say(`show_${name}`), number);
    button.addEventListener("click", () => change({ show: name }));
    return button;
  }

  function keyWords() {
    const keys = { "{slash}": "/", "{arrows}": "← ↑ ↓ →", "{enter}": "↵" };
    return say("keys").split(/(\{\w+\})/).map((part) => (keys[part] ? make("kbd", {}, keys[part]) : part));
  }

  function standing() {
    const now = Gallery.standing;
    if (!now) return;
    const stage = say(`stage_${now.stage}`);
    const values = { stage, percent: now.percent, time: now.eta_s ? Gallery.span(now.eta_s) : "" };
    const isBusy = !["idle", "stopped"].includes(now.stage);
    const isCounted = now.stage === "faces" && now.percent < 100;
    let line = stage;
    if (isCounted) line = say(now.eta_s ? "line_left" : "line_busy", values);
    if (now.failed) line += ` · ${say("line_failed", { n: now.failed })}`;
    at("state").textContent = line;
    delete at("state").dataset.say;
    at("dot").className = `dot${now.failed ? " trouble" : isBusy ? " busy" : ""}`;
  }

  function change(wanted) {
    Object.assign(state, { page: 1 }, wanted);
    note();
    refresh();
  }

  function turnTo(page, place) {
    change({ page });
    const cards = at("people").querySelectorAll("a");
    cards[place === "last" ? cards.length - 1 : 0]?.focus();
    if (place !== "last") at("people").scrollIntoView({ block: "start" });
  }

  // The arrows move among the cards as they lie on the screen, and over the edge of a page.
  function move(key) {
    const cards = [...at("people").querySelectorAll("a")];
    const here = cards.indexOf(document.activeElement);
    const top = cards[0]?.getBoundingClientRect().top;
    const columns = Math.max(1, cards.filter((one) => one.getBoundingClientRect().top === top).length);
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const target = { Home: 0, End: cards.length - 1 }[key] ?? here + steps[key];
    if (cards[target]) cards[target].focus();
    else if (key === "ArrowUp") at("search").focus();
    else if (target >= cards.length && !at("later").disabled) turnTo(state.page + 1, "first");
    else if (target < 0 && !at("earlier").disabled) turnTo(state.page - 1, "last");
  }

  const KEYS = ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    const isCard = document.activeElement?.matches?.("a.person");
    const isTyping = document.activeElement?.matches?.("input, select");
    if (event.key === "/" && !isTyping) at("search").focus();
    else if (isCard && KEYS.includes(event.key)) move(event.key);
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
  at("earlier").addEventListener("click", () => turnTo(state.page - 1, "first"));
  at("later").addEventListener("click", () => turnTo(state.page + 1, "first"));
  at("people").addEventListener("click", (event) => {
    const link = event.target.closest("a.person");
    // Coming back, the focus is where it was.
    if (link) note({ at: link.dataset.id });
  });
  window.addEventListener("hashchange", () => {
    if (location.hash === "#people") return;
    readAddress();
    frame();
  });

  function comeBack() {
    if (came) at("people").querySelector(`a[data-id="${came}"]`)?.focus();
  }
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) {
      readAddress();
      comeBack();
    }
  });

  // What is being done changes while the page is open.
  Gallery.hear("status", standing);
  setInterval(() => document.hidden || Gallery.load("gallery/data/status.js"), 10_000);

  readAddress();
  Gallery.begin(() => { frame(); document.title = say("title"); });
  document.title = say("title");
  frame();
  const news = make("button", { type: "button", "data-say": "news_show" }, say("news_show"));
  news.addEventListener("click", () => change({ show: "new" }));
  at("news").append(news);
  comeBack();
})();
