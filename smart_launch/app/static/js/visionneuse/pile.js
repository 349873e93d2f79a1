// Frames on demand: what is on screen first, then its neighbours; small compressed pictures kept, few decoded ones.

const BLOBS = 500;
const BITMAPS = 48;
const LANES = 4;

export class Stack {
  constructor(ready, shown) {
    this.ready = ready; // called with (key) when a frame that was asked for has come
    this.shown = shown; // the bitmap on screen, which must stay whole
    this.blobs = new Map();
    this.bitmaps = new Map();
    this.under = new Map(); // key → AbortController
    this.wanted = [];
    this.failed = new Map();
  }

  static key(frame, window) {
    const query = window ? `?window=${round(window.center)},${round(window.width)},linear` : "";
    return frame.address + query;
  }

  /** The decoded frame when it is at hand. */
  get(key) {
    const bitmap = this.bitmaps.get(key);
    if (bitmap) { this.bitmaps.delete(key); this.bitmaps.set(key, bitmap); }
    return bitmap;
  }

  /** Ask for these, the first most urgent; what is no longer wanted is given up. */
  want(keys) {
    this.wanted = keys.filter((key) => !this.blobs.has(key) && !this.under.has(key) && (this.failed.get(key) ?? 0) < 2);
    const keep = new Set(keys);
    for (const [key, controller] of this.under) if (!keep.has(key)) controller.abort();
    if (keys[0] && this.blobs.has(keys[0]) && !this.bitmaps.has(keys[0])) this.decode(keys[0]);
    this.run();
  }

  run() {
    while (this.under.size < LANES && this.wanted.length) this.load(this.wanted.shift());
  }

  async load(key) {
    const controller = new AbortController();
    this.under.set(key, controller);
    try {
      const answer = await fetch(key, { headers: { accept: "image/jpeg, image/png;q=0.9" }, signal: controller.signal });
      if (!answer.ok) throw new Error(String(answer.status));
      remember(this.blobs, key, await answer.blob(), BLOBS);
      this.failed.delete(key);
      await this.decode(key);
    } catch (error) {
      if (error.name !== "AbortError") {
        this.failed.set(key, (this.failed.get(key) ?? 0) + 1);
        this.ready(key, error);
      }
    } finally {
      this.under.delete(key);
      this.run();
    }
  }

  async decode(key) {
    const blob = this.blobs.get(key);
    if (!blob || this.bitmaps.has(key)) return;
    const bitmap = await createImageBitmap(blob);
    const dropped = remember(this.bitmaps, key, bitmap, BITMAPS);
    if (dropped !== this.shown()) dropped?.close();
    this.ready(key, null);
  }

  /** Another series: what was kept of the last one may go. */
  clear() {
    for (const controller of this.under.values()) controller.abort();
    for (const bitmap of this.bitmaps.values()) bitmap.close();
    this.bitmaps.clear();
    this.failed.clear();
    this.wanted = [];
  }
}

function remember(map, key, value, most) {
  map.set(key, value);
  if (map.size <= most) return undefined;
  const [oldest, dropped] = map.entries().next().value;
  map.delete(oldest);
  return dropped;
}

export function round(value) {
  return Math.round(value * 100) / 100;
}
