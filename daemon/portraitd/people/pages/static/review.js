"use strict";
// The index page: what blocks the service, what was not understood, questions, and the last edits.

(() => {
  const { translate, make, moment, picture } = Gallery;
  const MAX_NOTICES = 3;
  const at = (id) => document.getElementById(id);
  const textOf = ({ text, values }) => translate(text, values);

  const alert = (kind, ...content) => make("li", { class: `alert ${kind}`, dir: "auto" }, ...content);
  const time = (seconds) => make("span", { class: "quiet small numbers" }, moment(seconds));

  function editRow([entry, text, seconds, isUndone]) {
    const words = make("span", {}, make("span", { class: "quiet numbers" }, String(entry)), " ");
    words.append(make("span", { dir: "auto", class: isUndone ? "undone" : null }, textOf(text)));
    if (isUndone) words.append(" ", make("span", { class: "quiet" }, translate("edit_undone")));
    return make("li", {}, make("span", { class: "pair" }, words, time(seconds)));
  }

  function questionCard([text, address]) {
    const words = textOf(text);
    const link = make("a", { href: address }, picture(address, "", "?"));
    link.append(make("span", { class: "asked", dir: "auto" }, words));
    return make("li", {}, link);
  }

  function renderQuestions(questions) {
    at("questions").hidden = !questions.length;
    at("questions-waiting").textContent = translate("questions_waiting", { n: questions.length });
    at("question-rows").replaceChildren(...questions.map(questionCard));
  }

  // Called at each new status, and when another language is chosen.
  Gallery.renderReview = (review) => {
    const { blocked = [], notices = [], edits = [], known = [], questions = [] } = review;
    renderQuestions(questions);
    const shown = notices.slice(0, MAX_NOTICES);
    const more = notices.length - shown.length;
    at("alerts").replaceChildren(
      ...blocked.map((reason) => alert("bad", typeof reason === "string" ? reason : textOf(reason))),
      ...shown.map(([text, seconds]) => alert("warn", textOf(text), " ", time(seconds))),
      ...(more ? [alert("warn", make("a", { href: "STATUS.html" }, translate("and_more", { n: more })))] : []),
    );
    at("alerts").append(...known.map((text) => alert("plain", textOf(text))));
    at("alerts").hidden = !blocked.length && !notices.length && !known.length;
    at("edits").hidden = !edits.length;
    if (edits.length) {
      const [, text, seconds] = edits[0];
      at("last-edit").replaceChildren(
        translate("last_edit"), " ", make("span", { dir: "auto" }, textOf(text)), ", ", time(seconds),
      );
      at("edit-rows").replaceChildren(...edits.map(editRow));
      at("edits-help").textContent = translate(review.edits_help || "edits_help");
    }
  };
})();
