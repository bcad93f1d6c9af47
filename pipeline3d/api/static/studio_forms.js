// What the studio asks for a model, and what it sends: pure functions of the model's entry in the catalogue.
"use strict";

const studioForms = (() => {
  // The first ones of a form; the others are inside "More settings", unless there are only a few.
  const MAIN = ["source_job_id", "quality", "formats"];
  const FEW = 6;
  const PICTURES = "image/png,image/jpeg,image/webp,image/gif,image/bmp,image/tiff";
  const MODELS = ".glb,.gltf,.obj,.stl,.ply,.3mf,.zip";
  const FILES = {
    image_to_3d: { accept: PICTURES, noun: "photo", instead: null },
    export_model: { accept: MODELS, noun: "model file", instead: "source_job_id" },
  };
  // The names of the uploaded file's key: a file is chosen, nobody types its key.
  const FILE_FIELDS = ["input_path", "image_path"];

  // The file that a model takes, or null; `instead` names the parameter that may stand for it.
  function fileOf(model) {
    return FILES[model.kind] || null;
  }

  function takesPrompt(model) {
    return model.kind === "text_to_3d";
  }

  // The ready models before the others, each in the order in which they come.
  function sortModels(models) {
    return [...models.filter((model) => model.ready), ...models.filter((model) => !model.ready)];
  }

  // The model that the page begins with, or null where none is ready.
  function chooseFirst(models) {
    const ready = models.filter((model) => model.ready);
    return ready.find((model) => model.id === "inflate-v1") || ready.find(fileOf) || ready[0] || null;
  }

  function typeOf(rule) {
    const types = [rule.type].flat().filter((type) => type && type !== "null");
    if (rule.enum) return "select";
    if (types[0] === "array" && rule.items && rule.items.enum) return "checkboxes";
    if (types[0] === "array" && rule.items && rule.items.type === "string") return "lines";
    const simple = { boolean: "checkbox", integer: "number", number: "number", string: "text" };
    return (types.length === 1 && simple[types[0]]) || "json";
  }

  // One description per parameter: the required ones first, then the main ones, then the others by their labels.
  function controlsOf(model) {
    const schema = model.parameters_schema;
    const required = schema.required || [];
    const presets = schema["x-presets"] || {};
    const hidden = fileOf(model) ? FILE_FIELDS : [];
    const shown = Object.entries(schema.properties || {})
      .filter(([name, rule]) => !rule.deprecated && !hidden.includes(name));
    const labels = Object.fromEntries(shown.map(([name, rule]) => [name, rule.title || name]));
    const rank = ({ name }) => {
      if (required.includes(name)) return required.indexOf(name);
      return required.length + (MAIN.includes(name) ? MAIN.indexOf(name) : MAIN.length);
    };
    return shown
      .map(([name, rule]) => describe(name, rule, { required: required.includes(name), presets, labels }))
      .map((control) => ({ ...control, main: shown.length <= FEW || control.required || MAIN.includes(control.name) }))
      .sort((one, other) => rank(one) - rank(other) || one.label.localeCompare(other.label));
  }

  function describe(name, rule, { required, presets, labels }) {
    const type = typeOf(rule);
    const byQuality = Object.values(presets).some((preset) => name in preset);
    // What a quality decides is not sent unless somebody chooses it, whatever it is by default.
    const initial = byQuality ? undefined : rule.default;
    const isWhole = [rule.type].flat().includes("integer");
    return {
      name,
      type,
      required,
      initial,
      label: labels[name],
      help: [rule.description, name === "quality" && explainPresets(presets, labels)].filter(Boolean).join(" "),
      placeholder: byQuality ? "by quality" : placeholderOf(type, rule),
      options: rule.enum || (type === "checkboxes" ? rule.items.enum : []),
      min: rule.minimum,
      max: rule.maximum,
      step: type === "number" ? rule.multipleOf || (isWhole ? 1 : "any") : undefined,
      minLength: type === "text" ? rule.minLength : undefined,
      maxLength: type === "text" ? rule.maxLength : undefined,
    };
  }

  function placeholderOf(type, rule) {
    if (type === "lines") return "One per line";
    if (type === "json") return "JSON";
    return rule.default === undefined ? "" : String(rule.default);
  }

  // "fast: Texture resolution 512. balanced: …", or nothing.
  function explainPresets(presets, labels) {
    const order = ["fast", "balanced", "quality"];
    return Object.entries(presets)
      .sort(([one], [other]) => order.indexOf(one) - order.indexOf(other))
      .map(([quality, preset]) => `${quality}: ${Object.entries(preset)
        .map(([name, value]) => `${labels[name] || name} ${value}`).join(", ")}.`)
      .join(" ");
  }

  function same(one, other) {
    if (!Array.isArray(one) || !Array.isArray(other)) return one === other;
    return one.length === other.length && one.every((value) => other.includes(value));
  }

  // What somebody gave, or undefined where that is nothing. Raises a SyntaxError for JSON that is none.
  function parse(control, given) {
    if (control.type === "checkbox") return given === (control.initial || false) ? undefined : given;
    if (control.type === "checkboxes") return control.options.filter((option) => given.includes(String(option)));
    const text = (given || "").trim();
    if (text === "") return undefined;
    if (control.type === "select") return control.options.find((option) => String(option) === text);
    if (control.type === "number") return Number(text);
    if (control.type === "lines") return text.split("\n").map((line) => line.trim()).filter(Boolean);
    return control.type === "json" ? JSON.parse(text) : text;
  }

  // The parameters that differ from what they are anyway, and what cannot be read as one.
  // `values` has the text of each control, whether a box is ticked, or the texts of those that are.
  function paramsOf(controls, values) {
    const params = {};
    const errors = [];
    for (const control of controls) {
      try {
        const value = parse(control, values[control.name]);
        const unchanged = same(value, control.initial) || same(value, control.initial === undefined ? [] : null);
        if (value !== undefined && (control.required || !unchanged)) params[control.name] = value;
      } catch (error) {
        errors.push({ field: control.name, message: `${control.label} is not JSON.` });
      }
    }
    return { params, errors };
  }

  // The body of POST /jobs/.
  function bodyOf(model, params, { inputPath, prompt }) {
    const text = (prompt || "").trim();
    return {
      model_id: model.id,
      input_params: { ...params, ...(fileOf(model) && inputPath && { input_path: inputPath }) },
      ...(takesPrompt(model) && text && { prompt: text }),
    };
  }

  // The control that an error of the API is about: "body.input_params.image_urls.0" is about image_urls.
  function nameOf(field) {
    const parts = String(field || "").split(".").filter((part) => !["body", "input_params"].includes(part));
    return parts[0] || "";
  }

  return { bodyOf, chooseFirst, controlsOf, fileOf, nameOf, paramsOf, sortModels, takesPrompt };
})();
