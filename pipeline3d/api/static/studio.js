// The studio's placeholder: sign in, upload a photo, watch the job, download the model. No library, no build.
"use strict";

const API = "/api/v1";
const FIRST_POLL_MS = 200;
const LAST_POLL_MS = 1000;
const ENDED = ["SUCCEEDED", "FAILED", "CANCELED", "EXPIRED"];
const $ = (id) => document.getElementById(id);
let photo = null;
let watched = null;
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
  throw new Error([answer.detail, answer.hint].filter(Boolean).join(" "));
}

async function attempt(action) {
  show();
  try {
    await action();
  } catch (error) {
    show(error.message);
  }
}

function showSession(session) {
  csrfToken = session && session.csrf_token;
  $("sign-in").hidden = Boolean(session) && !wanted;
  $("work").hidden = !$("sign-in").hidden;
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
  photo = file;
  if ($("chosen").src) URL.revokeObjectURL($("chosen").src);
  $("chosen").src = URL.createObjectURL(file);
  $("chosen").hidden = false;
  $("drop-text").textContent = file.name;
  $("start").disabled = false;
}

async function upload(file) {
  const ticket = await call("/jobs/upload-ticket", { body: { filename: file.name, content_type: file.type } });
  if (file.size > ticket.max_bytes) throw new Error(`The photo has ${file.size} bytes; at most ${ticket.max_bytes} are accepted.`);
  const stored = await fetch(ticket.upload_url, { method: "PUT", headers: ticket.headers, body: file });
  if (!stored.ok) throw new Error("The photo could not be uploaded.");
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
  const quality = new FormData(event.target).get("quality");
  // A new key for each press: a request that is sent twice by the network makes one job.
  const headers = { "idempotency-key": Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("") };
  $("start").disabled = true;
  attempt(async () => {
    const input_path = await upload(photo);
    const body = { model_id: "inflate-v1", input_params: { input_path, quality } };
    await finish(await watch(await call("/jobs/", { body, headers })));
  }).finally(() => { $("start").disabled = !photo; });
});

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
