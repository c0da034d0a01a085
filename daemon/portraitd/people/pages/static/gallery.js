"use strict";
// Shared by all pages: loading data scripts, texts, dates and numbers, building elements.
// Names are untrusted: they are inserted as text, never as HTML.

const Gallery = (() => {
  const people = [];
  const listeners = {};
  let words = { en: {} };
  let language = "en";
  // The reader's regional variant: en-GB writes dates differently from en-US.
  let locale = "en";

  // Data scripts emit values; pages listen for them.
  const emit = (kind, value) => (listeners[kind] || []).forEach((listener) => listener(value));
  const on = (kind, listener) => (listeners[kind] ||= []).push(listener);

  function load(address, failed) {
    const script = document.createElement("script");
    script.src = address;
    script.addEventListener("error", () => failed?.());
    script.addEventListener("load", () => script.remove());
    document.head.append(script);
  }

  // Texts

  function storedLanguage() {
    try {
      return localStorage.getItem("portraitd-language");
    } catch {
      return null;
    }
  }

  function storeLanguage(choice) {
    try {
      localStorage.setItem("portraitd-language", choice);
    } catch {
      // Some browsers store nothing for local files; the choice is then lost on reload.
    }
  }

  function chooseLanguage() {
    const preferred = [storedLanguage(), ...(navigator.languages || [])];
    const known = preferred.map((tag) => (tag || "").slice(0, 2)).find((tag) => words[tag]);
    language = known || "en";
    locale = preferred.find((tag) => tag?.startsWith(`${language}-`)) || language;
    document.documentElement.lang = language;
  }

  function template(key, n) {
    const table = words[language];
    const plural = n === undefined ? "" : `.${new Intl.PluralRules(language).select(n)}`;
    return table[key + plural] ?? table[`${key}.other`] ?? table[key] ?? words.en[key] ?? key;
  }

  // translate("people", {n: 3}): numbers are formatted for the locale. A value can be a text itself.
  function translate(key, values = {}) {
    const format = (value) => {
      if (typeof value === "number") return value.toLocaleString(locale);
      return typeof value === "object" ? translate(value.text, value.values) : value;
    };
    return template(key, values.n).replace(/\{(\w+)\}/g, (all, name) => format(values[name] ?? all));
  }

  function translateElements(root = document) {
    for (const [attribute, apply] of [
      ["text", (element, text) => { element.textContent = text; }],
      ["textLabel", (element, text) => element.setAttribute("aria-label", text)],
      ["textPlaceholder", (element, text) => element.setAttribute("placeholder", text)],
    ]) {
      const name = attribute.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      for (const element of root.querySelectorAll(`[data-${name}]`)) {
        const values = element.dataset.values ? JSON.parse(element.dataset.values) : {};
        apply(element, translate(element.dataset[attribute], values));
      }
    }
    for (const element of root.querySelectorAll("time[data-at]")) {
      element.textContent = moment(Number(element.dataset.at));
    }
  }

  function offerLanguages(changed) {
    const select = document.getElementById("language");
    for (const tag of Object.keys(words)) {
      select.append(make("option", { value: tag, lang: tag }, words[tag].language));
    }
    select.value = language;
    select.addEventListener("change", () => {
      storeLanguage(select.value);
      chooseLanguage();
      translateElements();
      changed();
    });
  }

  // Numbers and times

  // A date is a number of seconds and a letter: "l" is a local time, read as though it were UTC.
  const dateStyle = (kind) => ({ dateStyle: "medium", ...(kind === "l" ? { timeZone: "UTC" } : {}) });
  const day = (seconds, kind) => new Date(seconds * 1000).toLocaleDateString(locale, dateStyle(kind));
  const dated = (text, kind) => translate(kind === "d" ? "dropped" : "recorded", { date: text });
  const date = (seconds, kind) => dated(day(seconds, kind), kind);
  const moment = (seconds) =>
    new Date(seconds * 1000).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
  const decimal = (value) =>
    value.toLocaleString(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

  function dates([first, firstKind], [last, lastKind]) {
    if (firstKind === lastKind) {
      const style = new Intl.DateTimeFormat(locale, dateStyle(firstKind));
      return dated(style.formatRange(new Date(first * 1000), new Date(last * 1000)), firstKind);
    }
    if (firstKind !== "d" && lastKind !== "d") {
      const [one, other] = [day(first, firstKind), day(last, lastKind)];
      return dated(one === other ? one : `${one} – ${other}`, firstKind);
    }
    return `${date(first, firstKind)} – ${date(last, lastKind)}`;
  }

  // 3725.4 as 1:02:05.
  function clock(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const two = (value) => String(value).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    const rest = `${hours ? two(Math.floor(whole / 60) % 60) : Math.floor(whole / 60)}:${two(whole % 60)}`;
    return hours ? `${hours}:${rest}` : rest;
  }

  function duration(seconds) {
    if (seconds < 90) return translate("seconds", { n: Math.round(seconds) });
    if (seconds < 5400) return translate("minutes", { n: Math.round(seconds / 60) });
    const minutes = Math.round(seconds / 60);
    return translate("hours_minutes", { h: Math.floor(minutes / 60), m: minutes % 60 });
  }

  // holiday/2019/IMG_1234.jpg as holid…/IMG_1234.jpg: the end tells recordings apart.
  function shortened(path, length) {
    const letters = [...path];
    if (letters.length <= length) return path;
    const tail = Math.ceil((length - 1) * 0.65);
    return `${letters.slice(0, length - 1 - tail).join("")}…${letters.slice(-tail).join("")}`;
  }

  // A button that copies a text; the text is selected where copying is not allowed.
  function copyButton(text) {
    const button = make("button", { type: "button", class: "copy" }, translate("copy"));
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = translate("copied");
      } catch {
        getSelection().selectAllChildren(button.previousElementSibling);
      }
    });
    return button;
  }

  // A folder below people/, as the reader's computer calls it if the page was opened as a file.
  function folderPath(folder) {
    const address = new URL(`../${folder}`, location.href);
    if (address.protocol !== "file:") return decoded(folder);
    const path = decoded(address.pathname);
    const share = address.host ? `//${address.host}` : "";
    return /^\/[A-Za-z]:/.test(path) ? path.slice(1).replaceAll("/", "\\") : share + path;
  }

  function decoded(path) {
    try {
      return decodeURIComponent(path);
    } catch {
      return path; // Not UTF-8.
    }
  }

  // 3 videos and 1 photo: whichever there are.
  function fileCounts(videos, photos) {
    const counts = { videos: translate("videos", { n: videos }), photos: translate("photos", { n: photos }) };
    if (videos && photos) return translate("videos_and_photos", counts);
    return photos ? counts.photos : counts.videos;
  }

  // Elements

  function make(tag, attributes = {}, ...children) {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (value === true) element.setAttribute(name, "");
      else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
    }
    element.append(...children.filter((child) => child !== null && child !== undefined));
    return element;
  }

  // Images load shortly before they are visible. The browser's own loading=lazy starts
  // thousands of pixels ahead, which means megabytes of unseen images over a share.
  const nearViewport = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        nearViewport.unobserve(target);
        target.src = target.dataset.src;
      }
    },
    { rootMargin: "240px" },
  );

  function picture(address, label, fallback) {
    const box = make("span", { class: "picture" });
    const letter = () => make("span", { class: "letter", "aria-hidden": "true" }, fallback);
    if (!address) {
      box.append(letter());
      return box;
    }
    const image = make("img", { alt: label, loading: "lazy", decoding: "async", "data-src": address });
    // The folder may have been renamed since this page was written.
    image.addEventListener("error", () => image.replaceWith(letter()));
    nearViewport.observe(image);
    box.append(image);
    return box;
  }

  // Where a recording can be played, at a moment; "" if that is not known.
  function recordingAddress(recordings, video, seconds) {
    if (!recordings || !video[6]) return "";
    const folder = new URL(`${recordings}/`, new URL("..", location.href));
    return `${folder.href}${video[6]}${video[1] || seconds === undefined ? "" : `#t=${seconds}`}`;
  }

  const linked = (address, ...content) => (address
    ? make("a", { href: address, target: "_blank", rel: "noopener" }, ...content)
    : make("span", {}, ...content));

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

  const sixDigits = (id) => String(id).padStart(6, "0");

  // The data of a person's page; it arrives as a "person".
  const loadPerson = (id, failed) => load(`data/person-${sixDigits(id)}.js`, failed);

  // The file of a portrait, whose name nearly always follows from the face.
  const portraitFile = (id, file) => file || `${sixDigits(id)}.jpg`;

  const CAPTION_LETTERS = 15;

  // A portrait in a grid: its picture, its recording, and what else there is to say.
  const tile = (address, label, video, ...more) => make(
    "li",
    {},
    make("a", { href: address, title: label, "aria-label": label }, picture(address, "", "?")),
    make(
      "span",
      { class: "line" },
      make("span", { class: "video", dir: "auto", title: video }, shortened(video, CAPTION_LETTERS)),
      ...more,
    ),
  );

  const initial = (name) => [...name][0]?.toUpperCase() ?? "?";

  // words.js is loaded before this script; scripts after it can translate at once.
  const start = (changed) => {
    words = typeof PORTRAITD_WORDS === "undefined" ? words : PORTRAITD_WORDS;
    chooseLanguage();
    translateElements();
    offerLanguages(changed);
  };

  return {
    people: (rows) => people.push(...rows),
    peopleRows: people,
    summary: (value) => { Gallery.summaryData = value; },
    summaryData: null,
    person: (value) => emit("person", value),
    unsorted: (value) => emit("unsorted", value),
    status: (value) => { Gallery.statusData = value; emit("status", value); },
    statusData: null,
    on, load, translate, start, make, picture, initial,
    day, date, dates, moment, decimal, clock, duration, fileCounts,
    shortened, copyButton, folderPath, recordingAddress, linked, list, inSteps,
    sixDigits, loadPerson, portraitFile, tile,
    get locale() { return locale; },
  };
})();
