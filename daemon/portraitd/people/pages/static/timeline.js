"use strict";
// A timeline of a person's appearances in a video: one bar for each appearance.

const timeline = (() => {
  const { translate, make, clock } = Gallery;
  const SVG = "http://www.w3.org/2000/svg";
  const STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
  const TOP = 2;
  const HEIGHT = 22;

  function shape(tag, attributes, text) {
    const element = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    if (text) element.textContent = text;
    return element;
  }

  // Positions are percentages, so that the text is not stretched.
  function plot(label, length, stretches) {
    const share = (seconds) => `${(100 * Math.min(seconds, length)) / length}%`;
    const image = shape("svg", { role: "img", "aria-label": label });
    image.append(shape("rect", { class: "track", x: 0, y: TOP, width: "100%", height: HEIGHT, rx: 4 }));
    const most = innerWidth < 560 ? 4 : 6;
    const step = STEPS.find((one) => length / one <= most) ?? Math.ceil(length / most / 3600) * 3600;
    for (let mark = 0; mark <= length; mark += step) {
      const isAtEnd = mark > 0.94 * length;
      const anchor = mark === 0 ? "start" : isAtEnd ? "end" : "middle";
      image.append(shape("line", { class: "tick", x1: share(mark), x2: share(mark), y1: TOP, y2: TOP + HEIGHT + 5 }));
      image.append(shape("text", { x: share(mark), y: TOP + HEIGHT + 18, "text-anchor": anchor }, clock(mark)));
    }
    for (const [start, stop, faces] of stretches) {
      const width = `${(100 * Math.max(stop - start, 0)) / length}%`;
      const bar = shape("rect", { class: "seen", x: share(start), y: TOP + 3, width, height: HEIGHT - 6 });
      bar.append(shape("title", {}, `${clock(start)} – ${clock(stop)} · ${translate("faces", { n: faces })}`));
      image.append(bar);
    }
    return image;
  }

  // One video: its name, the plot, and the same as a list for screen readers.
  // linkTo(video, seconds) returns the address of the recording at a moment, or "".
  return function row(person, video, linkTo) {
    const [name, , length, seconds, stretches, kind] = video;
    const last = stretches[stretches.length - 1][1];
    const whole = Math.max(length || 0, last, 1);
    const appearances = translate("appearances", { n: stretches.length });
    const label = translate("timeline", {
      name: person.name, video: name, appearances, start: clock(stretches[0][0]), stop: clock(last),
    });
    const items = stretches.map(([start, stop]) => {
      const address = linkTo(video, start);
      const text = `${clock(start)} – ${clock(stop)}`;
      return make("li", {}, address ? make("a", { href: address, target: "_blank", rel: "noopener" }, text) : text);
    });
    return make(
      "li",
      {},
      make(
        "div",
        { class: "title" },
        make("h3", { dir: "auto" }, name),
        make("span", { class: "quiet small numbers" }, `${Gallery.date(seconds, kind)} · ${translate("of_length", { length: clock(whole) })}`),
      ),
      plot(label, whole, stretches),
      make("details", {}, make("summary", {}, appearances), make("ol", { class: "quiet" }, ...items)),
    );
  };
})();
