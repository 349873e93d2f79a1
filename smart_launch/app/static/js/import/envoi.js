// Sending the files of chosen series by STOW-RS: some at a time, several at once, only what the platform lacks; a lost network is waited for.
import { headOf, sameExam } from "./support.js";

const BATCH_FILES = 40, BATCH_BYTES = 16e6, LANES = 3, HASHED = 64e6, LONGEST_WAIT = 30_000;
const RETRIES = 12; // some minutes without network

export class Refused extends Error { constructor(status, code) { super(`${status}`); this.status = status; this.code = code; } }
export class Cut extends Error {}

/** SHA-256 as hexadecimal; "" where the browser has none (no TLS) or for what is too large to read at once. */
async function digest(blob) {
  if (!globalThis.crypto?.subtle || blob.size > HASHED) return "";
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", await blob.arrayBuffer()));
  return Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** One request, its upload told as it goes; again after a cut, longer and longer waits. `makes` gives the body. */
async function posted(url, type, body, signal, moved = () => {}) {
  for (let attempt = 0; ; attempt += 1) {
    signal.throwIfAborted();
    const { status, answer } = await once(url, type, body, signal, moved);
    if ((status >= 200 && status < 300) || (status && answer["00081198"])) return answer;
    if (status && status < 500 && status !== 429) throw new Refused(status, answer.code ?? "");
    if (attempt >= RETRIES) throw new Cut();
    await pause(Math.min(LONGEST_WAIT, 500 * 2 ** attempt), signal);
  }
}

function once(url, type, body, signal, moved) {
  return new Promise((resolve) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    request.upload.addEventListener("progress", (step) => moved(step.loaded));
    request.addEventListener("loadend", () => {
      signal.removeEventListener("abort", stop);
      let answer = {};
      try { answer = JSON.parse(request.responseText || "{}"); } catch { /* no JSON: the status says enough */ }
      resolve({ status: request.status, answer });
    });
    signal.addEventListener("abort", stop);
    request.open("POST", url);
    request.setRequestHeader("content-type", type);
    request.setRequestHeader("accept", type === "application/json" ? type : "application/dicom+json");
    request.send(body);
  });
}

/** Waits, less when the network comes back. */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const end = () => { clearTimeout(timer); removeEventListener("online", end); signal.removeEventListener("abort", end); resolve(); };
    const timer = setTimeout(end, milliseconds);
    addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}

const values = (answer, tag) => answer[tag]?.Value ?? [];
const uid = (item) => item["00081155"]?.Value?.[0] ?? "";

/** The state of a sending; kept between a cut and its continuation. `pending` are the entries still to send. */
export function sending(entries) {
  return { pending: [...entries], total: entries.length, bytes: entries.reduce((sum, one) => sum + one.size, 0), sent: 0, known: 0, seen: 0, refused: [] };
}

/** Sends what is pending. `show(state, moving)`: bytes on their way. Raises Refused, Cut, AbortError; what was not sent stays pending. */
export async function send(state, address, show, signal) {
  const moving = new Map();
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const tell = () => show(state, [...moving.values()].reduce((sum, one) => sum + one, 0));
  const lane = async (number) => {
    while (state.pending.length) {
      either.throwIfAborted();
      const batch = taken(state.pending);
      try {
        await sendBatch(state, batch, address, either, (bytes) => { moving.set(number, bytes); tell(); });
      } catch (error) {
        state.pending.unshift(...batch);
        throw error;
      } finally {
        moving.delete(number);
      }
      tell();
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: LANES }, (_, number) => lane(number).catch((error) => { stop.abort(); throw error; })));
  signal.throwIfAborted();
  const fault = ends.find((one) => one.status === "rejected" && one.reason?.name !== "AbortError") ?? ends.find((one) => one.status === "rejected");
  if (fault) throw fault.reason;
}

function taken(pending) {
  const batch = [];
  let size = 0;
  while (pending.length && batch.length < BATCH_FILES && (!batch.length || size + pending[0].size <= BATCH_BYTES)) {
    batch.push(pending.shift());
    size += batch.at(-1).size;
  }
  return batch;
}

async function sendBatch(state, batch, address, signal, moved) {
  const ready = [], refused = [];
  for (const entry of batch) {
    signal.throwIfAborted();
    const head = await headOf(entry);
    if (!head) refused.push({ name: entry.name, why: "illisible" });
    else if (!sameExam(head, entry.told)) refused.push({ name: entry.name, why: "n'est pas l'image annoncée par le support" });
    else {
      try {
        const blob = await entry.blob();
        ready.push({ entry, blob, instance: head.instance, sha256: await digest(blob) });
      } catch {
        refused.push({ name: entry.name, why: "illisible" });
      }
    }
  }
  const hashed = Object.fromEntries(ready.filter((one) => one.sha256).map((one) => [one.instance, one.sha256]));
  const here = Object.keys(hashed).length ? new Set((await posted(`${address}/known`, "application/json", JSON.stringify({ instances: hashed }), signal)).known) : new Set();
  const lacking = ready.filter((one) => !here.has(one.instance));
  if (lacking.length) refused.push(...(await stored(lacking, address, signal, moved)));
  state.known += ready.length - lacking.length;
  state.sent += batch.length - refused.length;
  state.refused.push(...refused);
  state.seen += batch.reduce((sum, one) => sum + one.size, 0);
}

async function stored(parts, address, signal, moved) {
  const boundary = `b${crypto.getRandomValues(new Uint32Array(4)).join("")}`;
  const pieces = parts.flatMap((one) => [`--${boundary}\r\nContent-Type: application/dicom\r\n\r\n`, one.blob, "\r\n"]);
  const type = `multipart/related; type="application/dicom"; boundary=${boundary}`;
  const answer = await posted(`${address}/studies`, type, new Blob([...pieces, `--${boundary}--\r\n`]), signal, moved);
  const names = new Map(parts.map((one) => [one.instance, one.entry.name]));
  return values(answer, "00081198").map((item) => ({ name: names.get(uid(item)) ?? "", why: reason(item["00081197"]?.Value?.[0]) }));
}

/** PS3.18 §I.2.2, in words. */
function reason(status) {
  if (status === 0x0111) return "déjà sur la plateforme avec un autre contenu";
  if (status >= 0xa700 && status <= 0xa7ff) return "plus de place sur la plateforme";
  if (status >= 0xc000) return "illisible ou incomplet";
  return "refusé par la plateforme";
}
