// The picture: frame and mask laid over each other as this viewer wants them.

const CRC = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value;
});
const GAP_PX = 4;

export class Picture {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.view = "overlay";
    this.alpha = 0.5;
    this.aspect = 1;
    this.hidden = new Set();
    this.frame = null;
    this.mask = null;
    this.png = null;
    this.ids = document.createElement("canvas");
    this.turn = this.seen = 0; // of the newest message, and of the picture that is shown
  }

  /** Show a frame, given as the bytes of a JPEG and of a palette PNG; whether it is seen. */
  async show(jpeg, png) {
    const turn = ++this.turn;
    const [frame, mask] = await Promise.all([decoded(jpeg, "image/jpeg"), decoded(this.partly(png), "image/png")]);
    // Only what is older than the picture that is seen is left out: a slow device shows every one.
    if (turn < this.seen) {
      frame?.close();
      mask?.close();
      return false;
    }
    this.seen = turn;
    this.frame?.close();
    this.mask?.close();
    [this.frame, this.mask, this.png] = [frame, mask, png];
    this.draw();
    return true;
  }

  /** Show nothing until the next frame; what is on its way is left out. */
  clear() {
    this.seen = ++this.turn;
    this.frame?.close();
    this.mask?.close();
    this.frame = this.mask = this.png = this.unit = null;
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /** Draw the newest frame again, in another view or with other classes. */
  async again() {
    if (!this.png) return;
    const turn = ++this.turn;
    const mask = await decoded(this.partly(this.png), "image/png");
    if (turn < this.seen) return mask.close();
    this.seen = turn;
    this.mask?.close();
    this.mask = mask;
    this.draw();
  }

  draw() {
    const { context, canvas, frame, mask } = this;
    if (!mask) return;
    const one = frame || mask;
    const [width, height] = [Math.round(one.width * this.aspect), one.height];
    this.unit = { width, height };
    const pair = this.view === "side-by-side";
    const below = pair && canvas.parentElement.clientWidth < 600;
    const wide = pair && !below ? 2 * width + GAP_PX : width;
    const high = below ? 2 * height + GAP_PX : height;
    if (canvas.width !== wide || canvas.height !== high) {
      canvas.width = wide;
      canvas.height = high;
    }
    context.fillStyle = "#0b0f14";
    context.fillRect(0, 0, wide, high);
    if (frame && this.view !== "mask") context.drawImage(frame, 0, 0, width, height);
    if (this.view === "picture") return;
    context.globalAlpha = this.view === "overlay" ? this.alpha : 1;
    context.imageSmoothingEnabled = false;
    const at = pair ? (below ? [0, height + GAP_PX] : [width + GAP_PX, 0]) : [0, 0];
    context.drawImage(mask, ...at, width, height);
    context.globalAlpha = 1;
    context.imageSmoothingEnabled = true;
  }

  /** The RGB of the class at a place in the page, or null. */
  colorAt(clientX, clientY) {
    if (!this.mask || !this.unit) return null;
    const { canvas, mask } = this;
    const box = canvas.getBoundingClientRect();
    const scale = Math.min(box.width / canvas.width, box.height / canvas.height);
    const x = (clientX - box.left - (box.width - canvas.width * scale) / 2) / scale;
    const y = (clientY - box.top - (box.height - canvas.height * scale) / 2) / scale;
    if (x < 0 || y < 0 || x >= canvas.width || y >= canvas.height) return null;
    const u = x >= this.unit.width ? (x - this.unit.width - GAP_PX) / this.unit.width : x / this.unit.width;
    const v = y >= this.unit.height ? (y - this.unit.height - GAP_PX) / this.unit.height : y / this.unit.height;
    if (u < 0 || v < 0) return null;
    this.ids.width = this.ids.height = 1;
    const context = this.ids.getContext("2d", { willReadFrequently: true });
    context.imageSmoothingEnabled = false;
    context.drawImage(mask, Math.floor(u * mask.width), Math.floor(v * mask.height), 1, 1, 0, 0, 1, 1);
    const [red, green, blue, opaque] = context.getImageData(0, 0, 1, 1).data;
    return opaque ? [red, green, blue] : null;
  }

  /** The mask with this viewer's hidden classes made transparent: a tRNS chunk behind the palette. */
  partly(png) {
    if (!this.hidden.size || !png) return png;
    const view = new DataView(png.buffer, png.byteOffset, png.byteLength);
    let at = 8;
    while (view.getUint32(at + 4) !== 0x504c5445) at += 12 + view.getUint32(at);
    at += 12 + view.getUint32(at);
    const classes = Math.max(...this.hidden) + 1;
    const chunk = new Uint8Array(12 + classes);
    chunk.set([0x74, 0x52, 0x4e, 0x53], 4);
    for (let id = 0; id < classes; id++) chunk[8 + id] = this.hidden.has(id) ? 0 : 255;
    const head = new DataView(chunk.buffer);
    head.setUint32(0, classes);
    head.setUint32(8 + classes, crc32(chunk.subarray(4, 8 + classes)));
    const made = new Uint8Array(png.length + chunk.length);
    made.set(png.subarray(0, at));
    made.set(chunk, at);
    made.set(png.subarray(at), at + chunk.length);
    return made;
  }
}

function decoded(bytes, type) {
  return bytes && bytes.length ? createImageBitmap(new Blob([bytes], { type })) : Promise.resolve(null);
}

function crc32(bytes) {
  let value = ~0;
  for (const byte of bytes) value = CRC[(value ^ byte) & 255] ^ (value >>> 8);
  return ~value >>> 0;
}
