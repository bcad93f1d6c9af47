// The controls of the studio's form in the page: drawn from their descriptions, read, and marked where wrong.
"use strict";

const studioControls = (() => {
  const idOf = (name) => `param-${name}`;

  function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  function option(value, text, selected) {
    return make("option", { value, textContent: text, selected: Boolean(selected) });
  }

  function select(control) {
    const made = make("select", { required: control.required });
    if (control.initial === undefined) made.append(option("", control.required ? "choose one" : control.placeholder || "not set"));
    made.append(...control.options.map((value) => option(String(value), String(value), value === control.initial)));
    return made;
  }

  function input(control) {
    if (control.type === "select") return select(control);
    const { placeholder, required } = control;
    if (control.type === "lines" || control.type === "json") return make("textarea", { rows: 3, placeholder, required });
    if (control.type === "checkbox") return make("input", { type: "checkbox", checked: control.initial === true });
    const made = make("input", { type: control.type, placeholder, required, autocomplete: "off" });
    for (const limit of ["min", "max", "step", "minLength", "maxLength"]) {
      if (control[limit] !== undefined) made.setAttribute(limit, control[limit]);
    }
    return made;
  }

  function boxes(control) {
    return control.options.map((value) => make("label", { className: "tick" },
      make("input", { type: "checkbox", name: control.name, value: String(value), checked: (control.initial || []).includes(value) }),
      String(value)));
  }

  function field(control) {
    const id = idOf(control.name);
    const help = make("small", { id: `${id}-help`, textContent: control.help });
    const wrong = make("small", { id: `${id}-wrong`, className: "wrong" });
    const title = control.required ? [control.label, make("span", { className: "required", textContent: " (required)" })] : [control.label];
    let drawn;
    if (control.type === "checkboxes") {
      drawn = make("fieldset", { id }, make("legend", {}, ...title), ...boxes(control), help, wrong);
      drawn.setAttribute("aria-describedby", `${help.id} ${wrong.id}`);
    } else {
      const made = Object.assign(input(control), { id, name: control.name });
      made.setAttribute("aria-describedby", `${help.id} ${wrong.id}`);
      const isTick = control.type === "checkbox";
      const label = make("label", { htmlFor: id, className: isTick ? "tick" : "" }, ...title);
      if (isTick) label.prepend(made);
      drawn = make("div", {}, label, ...(isTick ? [] : [made]), help, wrong);
    }
    drawn.classList.add("field");
    return drawn;
  }

  function draw(controls, main, more) {
    main.replaceChildren(...controls.filter((control) => control.main).map(field));
    more.replaceChildren(...controls.filter((control) => !control.main).map(field));
  }

  function read(controls) {
    return Object.fromEntries(controls.map(({ name, type }) => {
      const element = document.getElementById(idOf(name));
      if (type === "checkbox") return [name, element.checked];
      if (type !== "checkboxes") return [name, element.value];
      return [name, Array.from(element.querySelectorAll("input:checked"), (box) => box.value)];
    }));
  }

  function unmark(form) {
    form.querySelectorAll(".wrong").forEach((place) => { place.textContent = ""; });
    form.querySelectorAll("[aria-invalid]").forEach((element) => element.removeAttribute("aria-invalid"));
  }

  // Shows each error at its control and goes to the uppermost; returns those that have no control here.
  function mark(errors) {
    const unplaced = [];
    for (const error of errors) {
      const name = studioForms.nameOf(error.field);
      const element = document.getElementById(name === "prompt" ? name : idOf(name));
      const place = element && document.getElementById(`${element.id}-wrong`);
      if (!place || element.closest("[hidden]")) {
        unplaced.push(error);
        continue;
      }
      place.textContent = [place.textContent, error.message].filter(Boolean).join(" ");
      element.setAttribute("aria-invalid", "true");
      reveal(element);
    }
    const first = unplaced.length < errors.length && document.querySelector("#create [aria-invalid]");
    if (first) (first.matches("fieldset") ? first.querySelector("input") : first).focus();
    return unplaced;
  }

  // A control inside closed settings can neither be seen nor reached.
  function reveal(element) {
    const folded = element.closest("details");
    if (folded) folded.open = true;
  }

  function listModels(models, chosen, place) {
    const group = (label, members) => {
      if (!members.length) return [];
      const made = make("optgroup", { label });
      for (const model of members) {
        const entry = option(model.id, model.ready ? model.name : `${model.name} (not ready)`, model === chosen);
        entry.disabled = !model.ready;
        entry.title = model.ready ? model.description : model.not_ready_reason || "";
        made.append(entry);
      }
      return [made];
    };
    place.replaceChildren(
      ...group("Ready", models.filter((model) => model.ready)),
      ...group("Not ready here", models.filter((model) => !model.ready)),
    );
  }

  function listReasons(models, place) {
    place.replaceChildren(...models.filter((model) => !model.ready).flatMap((model) => [
      make("dt", { textContent: model.name }),
      make("dd", { textContent: [model.not_ready_reason, model.not_ready_hint].filter(Boolean).join(" ") }),
    ]));
  }

  return { draw, listModels, listReasons, mark, read, reveal, unmark };
})();
