"use strict";
// What all pages share: the data that scripts bring in, words, links, building elements.
// Names come from people and files: they reach the page as text, never as markup.

const Gallery = (() => {
  const people = [];
  const hearers = {};
  let words = { en: {} };
  let language = "en";
  // Of the language, as the reader's country writes it: en-GB has other dates than en-US.
  let locale = "en";

  // Data files call these; whoever waits for one of them is told.
  const bring = (kind, value) => (hearers[kind] || []).forEach((hear) => hear(value));
  const hear = (kind, hearer) => (hearers[kind] ||= []).push(hearer);

  function load(address, failed) {
    const script = document.createElement("script");
    script.src = address;
    script.addEventListener("error", () => failed?.());
    script.addEventListener("load", () => script.remove());
    document.head.append(script);
  }

  // Words

  function remembered() {
    try {
      return localStorage.getItem("portraitd-language");
    } catch {
      return null;
    }
  }

  function remember(choice) {
    try {
      localStorage.setItem("portraitd-language", choice);
    } catch {
      // A browser that keeps nothing for files asks again next time.
    }
  }

  function choose() {
    const wanted = [remembered(), ...(navigator.languages || [])];
    const known = wanted.map((tag) => (tag || "").slice(0, 2)).find((tag) => words[tag]);
    language = known || "en";
    locale = wanted.find((tag) => tag?.startsWith(`${language}-`)) || language;
    document.documentElement.lang = language;
  }

  function template(key, n) {
    const table = words[language];
    const plural = n === undefined ? "" : `.${new Intl.PluralRules(language).select(n)}`;
    return table[key + plural] ?? table[`${key}.other`] ?? table[key] ?? words.en[key] ?? key;
  }

  // say("people", {n: 3}): numbers are written as the language does.
  function say(key, values = {}) {
    const shown = (value) => (typeof value === "number" ? value.toLocaleString(locale) : value);
    return template(key, values.n).replace(/\{(\w+)\}/g, (all, name) => shown(values[name] ?? all));
  }

  function translate(root = document) {
    for (const [attribute, apply] of [
      ["say", (element, text) => { element.textContent = text; }],
      ["sayLabel", (element, text) => element.setAttribute("aria-label", text)],
      ["sayPlaceholder", (element, text) => element.setAttribute("placeholder", text)],
    ]) {
      const name = attribute.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
      for (const element of root.querySelectorAll(`[data-${name}]`)) {
        const values = element.dataset.values ? JSON.parse(element.dataset.values) : {};
        apply(element, say(element.dataset[attribute], values));
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
      remember(select.value);
      choose();
      translate();
      changed();
    });
  }

  // Numbers and times

  const day = (seconds) =>
    new Date(seconds * 1000).toLocaleDateString(locale, { dateStyle: "medium" });
  const moment = (seconds) =>
    new Date(seconds * 1000).toLocaleString(locale, { dateStyle: "medium", timeStyle: "short" });
  const decimal = (value) =>
    value.toLocaleString(locale, { minimumFractionDigits: 2, maximumFractionDigits: 2 });

  function days(first, last) {
    const style = new Intl.DateTimeFormat(locale, { dateStyle: "medium" });
    return style.formatRange(new Date(first * 1000), new Date(last * 1000));
  }

  // 3725.4 as 1:02:05.
  function clock(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const two = (value) => String(value).padStart(2, "0");
    const hours = Math.floor(whole / 3600);
    const rest = `${hours ? two(Math.floor(whole / 60) % 60) : Math.floor(whole / 60)}:${two(whole % 60)}`;
    return hours ? `${hours}:${rest}` : rest;
  }

  function span(seconds) {
    if (seconds < 90) return say("seconds", { n: Math.round(seconds) });
    if (seconds < 5400) return say("minutes", { n: Math.round(seconds / 60) });
    const minutes = Math.round(seconds / 60);
    return say("hours_minutes", { h: Math.floor(minutes / 60), m: minutes % 60 });
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

  // Pictures are asked for when they come near: the browser's own loading=lazy begins
  // thousands of pixels ahead, which over a share is megabytes nobody may look at.
  const nearing = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        nearing.unobserve(target);
        target.src = target.dataset.src;
      }
    },
    { rootMargin: "240px" },
  );

  // full: side of the filled corner of a montage, 5 if it is full; 0 for a plain portrait.
  function picture(address, full, label, fallback) {
    const box = make("span", { class: "picture" });
    const letter = () => make("span", { class: "letter", "aria-hidden": "true" }, fallback);
    if (!address) {
      box.append(letter());
      return box;
    }
    const image = make("img", { alt: label, loading: "lazy", decoding: "async", "data-src": address });
    if (full > 1 && full < 5) image.className = `full-${full}`;
    // The folder may have been renamed since these pages were written.
    image.addEventListener("error", () => image.replaceWith(letter()));
    nearing.observe(image);
    box.append(image);
    return box;
  }

  const initial = (name) => [...name][0]?.toUpperCase() ?? "?";

  // The words are there before this script; scripts after it find the language chosen.
  const begin = (changed) => {
    words = typeof PORTRAITD_WORDS === "undefined" ? words : PORTRAITD_WORDS;
    choose();
    translate();
    offerLanguages(changed);
  };

  return {
    people: (rows) => people.push(...rows),
    everybody: people,
    summary: (value) => { Gallery.facts = value; },
    facts: null,
    person: (value) => bring("person", value),
    status: (value) => { Gallery.standing = value; bring("status", value); },
    standing: null,
    hear, load, say, translate, begin, make, picture, initial,
    day, days, moment, decimal, clock, span,
    get locale() { return locale; },
  };
})();
