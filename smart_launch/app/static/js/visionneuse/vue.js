// The canvas: a frame drawn to fit, zoomed and moved, with a quick preview of a new window until the true one comes.

export class View {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.zoom = 1;
    this.x = 0;
    this.y = 0;
    this.inverted = false;
    this.shown = null; // { bitmap, window, ratio }
    this.filter = "";
    new ResizeObserver(() => this.resize()).observe(canvas);
    this.resize();
  }

  resize() {
    const scale = Math.min(window.devicePixelRatio || 1, 2);
    const box = this.canvas.getBoundingClientRect();
    this.canvas.width = Math.max(1, Math.round(box.width * scale));
    this.canvas.height = Math.max(1, Math.round(box.height * scale));
    this.scale = scale;
    this.draw();
  }

  show(bitmap, window, spacing) {
    const ratio = spacing[0] > 0 && spacing[1] > 0 ? spacing[0] / spacing[1] : 1;
    this.shown = { bitmap, window, ratio };
    this.filter = "";
    this.draw();
  }

  /** The present picture as it would look in another window: the same straight line, on its 8 bits. */
  preview(next) {
    const from = this.shown?.window;
    if (!from || !next) return;
    const slope = from.width / next.width;
    const shift = (from.center - from.width / 2 - next.center + next.width / 2) / next.width;
    const contrast = 1 - 2 * shift;
    this.filter = contrast > 0.02 ? `brightness(${slope / contrast}) contrast(${contrast})` : "";
    this.draw();
  }

  /** Nothing on screen: the picture of one series must not stand under the name of another. */
  clear() {
    this.shown = null;
    this.draw();
  }

  fit() {
    this.zoom = 1;
    this.x = 0;
    this.y = 0;
    this.draw();
  }

  /** Zoom about a point of the canvas, in CSS pixels. */
  zoomBy(factor, px = null, py = null) {
    const zoom = Math.min(16, Math.max(0.25, this.zoom * factor));
    const real = zoom / this.zoom;
    if (px !== null) {
      const cx = px * this.scale - this.canvas.width / 2;
      const cy = py * this.scale - this.canvas.height / 2;
      this.x = cx - (cx - this.x) * real;
      this.y = cy - (cy - this.y) * real;
    } else {
      this.x *= real;
      this.y *= real;
    }
    this.zoom = zoom;
    this.draw();
  }

  moveBy(dx, dy) {
    this.x += dx * this.scale;
    this.y += dy * this.scale;
    this.draw();
  }

  draw() {
    const { context, canvas, shown } = this;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#000";
    context.fillRect(0, 0, canvas.width, canvas.height);
    if (!shown) return;
    const width = shown.bitmap.width;
    const height = shown.bitmap.height * shown.ratio;
    const scale = Math.min(canvas.width / width, canvas.height / height) * this.zoom;
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = "high";
    const filters = [this.filter, this.inverted ? "invert(1)" : ""].filter(Boolean).join(" ");
    context.filter = filters || "none";
    context.drawImage(
      shown.bitmap,
      canvas.width / 2 + this.x - (width * scale) / 2,
      canvas.height / 2 + this.y - (height * scale) / 2,
      width * scale,
      height * scale,
    );
    context.filter = "none";
  }
}
