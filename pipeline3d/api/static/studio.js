// The studio: sign in, choose a model, fill in its form, watch the job, download the result. No library, no build.
"use strict";

const API = "/api/v1";
const FIRST_POLL_MS = 200;
const LAST_POLL_MS = 1000;
const ENDED = ["SUCCEEDED", "FAILED", "CANCELED", "EXPIRED"];
// of a file whose kind the system does not know
const UNKNOWN_TYPE = "application/octet-stream";
const $ = (id) => document.getElementById(id);
let photo = null;
let watched = null;
let models = [];
let model = null;
let controls = [];
let busy = false;
// The session is a cookie that no script can read; this token shows that a change comes from this page.
let csrfToken = null;
// A page of Dagster that asked for a sign-in, or nothing.
const wanted = (/^\/(dagster|lineage)([/?].*)?$/.exec(new URLSearchParams(location.search).get("next")) || [""])[0];

function show(problem) {
  $("problem").textContent = problem || "";
}

async function call(path, { body, headers, method } = {}) {
  const response = await fetch(API + path, {
    method: method || (body ? "POST" : "GET"),
    headers: { "content-type": "application/json", ...(csrfToken && { "x-csrf-token": csrfToken }), ...headers },
    body: body && JSON.stringify(body),
  });
  if (response.status === 204) return null;
  const answer = await response.json();
  if (response.ok) return answer;
  // another tab may have signed in anew, or out
  if (response.status === 401 || answer.code === "csrf_failed") showSession(null);
  throw Object.assign(new Error([answer.detail, answer.hint].filter(Boolean).join(" ")), { errors: answer.errors || [] });
}

async function attempt(action) {
  show();
  try {
    await action();
  } catch (error) {
    const errors = error.errors || [];
    const unplaced = studioControls.mark(errors);
    show(errors.length && !unplaced.length ? "Some settings are not accepted; see there." : error.message);
  }
}

function showSession(session) {
  csrfToken = session && session.csrf_token;
  $("sign-in").hidden = Boolean(session) && !wanted;
  $("work").hidden = $("sign-out").hidden = !$("sign-in").hidden;
  if (session && !models.length) attempt(loadModels);
}

async function loadModels() {
  models = studioForms.sortModels(await call("/models"));
  const first = studioForms.chooseFirst(models);
  studioControls.listModels(models, first, $("model"));
  studioControls.listReasons(models, $("reasons"));
  $("not-ready").hidden = models.every(({ ready }) => ready);
  if (!first) throw new Error("No model is ready on this installation.");
  chooseModel(first);
}

function chooseModel(chosen) {
  const file = studioForms.fileOf(chosen);
  if (model && studioForms.fileOf(model) !== file) forgetFile();
  model = chosen;
  controls = studioForms.controlsOf(model);
  studioControls.unmark($("create"));
  studioControls.draw(controls, $("main-settings"), $("more-settings"));
  $("more").hidden = controls.every(({ main }) => main);
  $("model-help").textContent = model.description;
  $("drop").hidden = !file;
  if (file) $("photo").accept = file.accept;
  if (file && !photo) $("drop-text").textContent = `Drop a ${file.noun} here, or choose one`;
  $("prompt-field").hidden = !studioForms.takesPrompt(model);
  $("prompt").required = studioForms.takesPrompt(model);
  refreshStart();
}

// What is missing besides a file, the browser says itself when the button is pressed.
function refreshStart() {
  const file = model && studioForms.fileOf(model);
  const isGiven = photo || (file && file.instead && studioControls.read(controls)[file.instead]);
  $("start").disabled = busy || !model || Boolean(file && !isGiven);
}

async function resume() {
  const response = await fetch(`${API}/auth/session`);
  showSession(response.ok ? await response.json() : null);
}

async function signOut() {
  await call("/auth/session", { method: "DELETE" });
  showSession(null);
}

function choose(file) {
  if (!file) return;
  forgetFile();
  photo = file;
  if (file.type.startsWith("image/")) $("chosen").src = URL.createObjectURL(file);
  $("chosen").hidden = !$("chosen").src;
  $("drop-text").textContent = file.name;
  refreshStart();
}

function forgetFile() {
  photo = null;
  $("photo").value = "";  // so that the same file can be chosen again
  if ($("chosen").src) URL.revokeObjectURL($("chosen").src);
  $("chosen").removeAttribute("src");
  $("chosen").hidden = true;
}

async function upload(file) {
  const ticket = await call("/jobs/upload-ticket", { body: { filename: file.name, content_type: file.type || UNKNOWN_TYPE } });
  if (file.size > ticket.max_bytes) throw new Error(`The file has ${file.size} bytes; at most ${ticket.max_bytes} are accepted.`);
  const stored = await fetch(ticket.upload_url, { method: "PUT", headers: ticket.headers, body: file });
  if (!stored.ok) throw new Error("The file could not be uploaded.");
  return ticket.object_name;
}

async function watch(job) {
  let pause = FIRST_POLL_MS;
  $("job").hidden = false;
  $("result").hidden = true;
  $("preview").hidden = true;
  for (;;) {
    const { progress, status } = job;
    $("bar").value = job.progress_percent;
    const stage = progress.stage ? `${progress.stage.replaceAll("_", " ")} (${progress.stage_number} of ${progress.stage_count})` : "";
    $("stage").textContent = [status.toLowerCase(), stage].filter(Boolean).join(": ");
    watched = job;
    $("cancel").hidden = ENDED.includes(status);
    $("cancel").disabled = status === "CANCELING";
    if (ENDED.includes(status)) return job;
    await new Promise((resolve) => setTimeout(resolve, pause));
    pause = Math.min(pause * 1.5, LAST_POLL_MS);
    job = await call(`/jobs/${job.id}`);
  }
}

async function finish(job) {
  if (job.status === "CANCELED") return;
  if (job.status !== "SUCCEEDED") {
    throw new Error(job.error ? [job.error.message, job.error.hint].filter(Boolean).join(" ") : `The job is ${job.status}.`);
  }
  $("download").href = (await call(`/jobs/${job.id}/download`)).download_url;
  $("result").hidden = false;
  const preview = job.artifacts.find((artifact) => artifact.type === "PREVIEW");
  if (!preview) return;
  $("preview").src = (await call(preview.url.slice(API.length))).download_url;
  $("preview").hidden = false;
}

$("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  const form = new FormData(event.target);
  attempt(async () => {
    const session = await call("/auth/session", { body: Object.fromEntries(form) });
    event.target.reset();
    if (wanted) location.assign(wanted);
    else showSession(session);
  });
});

$("create").addEventListener("submit", (event) => {
  event.preventDefault();
  const asked = model;
  const { params, errors } = studioForms.paramsOf(controls, studioControls.read(controls));
  // A new key for each press: a request that is sent twice by the network makes one job.
  const headers = { "idempotency-key": Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("") };
  busy = true;
  refreshStart();
  studioControls.unmark($("create"));
  attempt(async () => {
    if (errors.length) throw Object.assign(new Error("Some settings cannot be read."), { errors });
    const inputPath = photo && studioForms.fileOf(asked) ? await upload(photo) : null;
    const body = studioForms.bodyOf(asked, params, { inputPath, prompt: $("prompt").value });
    await finish(await watch(await call("/jobs/", { body, headers })));
  }).finally(() => {
    busy = false;
    refreshStart();
  });
});

$("create").addEventListener("input", refreshStart);
$("create").addEventListener("invalid", (event) => studioControls.reveal(event.target), true);
$("model").addEventListener("change", () => chooseModel(models.find(({ id }) => id === $("model").value)));

$("cancel").addEventListener("click", () => {
  $("cancel").disabled = true;
  attempt(() => call(`/jobs/${watched.id}/cancel`, { method: "POST" }));
});

$("photo").addEventListener("change", (event) => choose(event.target.files[0]));
$("sign-out").addEventListener("click", () => attempt(signOut));
for (const type of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(type, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", type === "dragover");
    if (type === "drop") choose(event.dataTransfer.files[0]);
  });
}
attempt(resume);
