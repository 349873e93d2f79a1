// A zip archive read where it lies: its directory first, each file unpacked as it is needed, bounded. APPNOTE.TXT §4.3
const MOST_FILE = 2e9, MOST_ENTRIES = 100000, MOST_TOTAL = 60e9, MOST_RATIO = 1100; // deflate makes no more than 1032 of one

async function view(blob) { return new DataView(await blob.arrayBuffer()); }

/** Where the central directory lies: {count, offset, size}. Raises "zip". */
async function directory(file) {
  const start = Math.max(0, file.size - 65557);
  const tail = await view(file.slice(start));
  for (let at = tail.byteLength - 22; at >= 0; at -= 1) {
    if (tail.getUint32(at, true) !== 0x06054b50) continue;
    let found = { count: tail.getUint16(at + 10, true), size: tail.getUint32(at + 12, true), offset: tail.getUint32(at + 16, true) };
    if (found.offset === 0xffffffff || found.count === 0xffff || found.size === 0xffffffff) { // ZIP64
      const locator = await view(file.slice(start + at - 20, start + at));
      const record = await view(file.slice(Number(locator.getBigUint64(8, true))).slice(0, 56));
      found = { count: Number(record.getBigUint64(32, true)), size: Number(record.getBigUint64(40, true)), offset: Number(record.getBigUint64(48, true)) };
    }
    return found;
  }
  throw new Error("zip");
}

let table = null;
function crc(bytes, value) {
  table ??= Uint32Array.from({ length: 256 }, (_, n) => { for (let bit = 0; bit < 8; bit += 1) n = n & 1 ? (n >>> 1) ^ 0xedb88320 : n >>> 1; return n; });
  for (let at = 0; at < bytes.length; at += 1) value = table[(value ^ bytes[at]) & 255] ^ (value >>> 8);
  return value;
}

/** Up to `most` bytes; the whole never more than the directory promised, and by its checksum. Raises "zip". */
async function unpacked(packed, { method, size, sum }, most) {
  const whole = most >= size;
  const stream = method === 0 ? packed.stream() : packed.stream().pipeThrough(new DecompressionStream("deflate-raw"));
  const reader = stream.getReader(), chunks = [];
  let got = 0, check = 0xffffffff;
  try {
    while (got < most || whole) {
      const { done, value } = await reader.read();
      if (done) break;
      got += value.length;
      if (got > size) throw new Error("zip");
      if (whole) check = crc(value, check);
      chunks.push(value);
    }
  } catch {
    throw new Error("zip");
  } finally {
    reader.cancel().catch(() => {});
  }
  if (whole && (got !== size || (check ^ 0xffffffff) >>> 0 !== sum)) throw new Error("zip");
  return new Blob(chunks);
}

/** Sizes and place of an entry; those of more than 32 bits are in its ZIP64 field. §4.5.3 */
function places(list, at, names, extra) {
  const made = { packed: list.getUint32(at + 20, true), size: list.getUint32(at + 24, true), local: list.getUint32(at + 42, true) };
  for (let field = at + 46 + names, end = field + extra; field + 4 <= end; field += 4 + list.getUint16(field + 2, true)) {
    if (list.getUint16(field, true) !== 1) continue;
    let next = field + 4;
    for (const name of ["size", "packed", "local"]) {
      if (made[name] === 0xffffffff) { made[name] = Number(list.getBigUint64(next, true)); next += 8; }
    }
  }
  return made;
}

/** Why an entry is left out, or "". */
function fault(name, flags, method, one, file) {
  if (name.split(/[/\\]/).includes("..") || /^([/\\]|[a-z]:)/i.test(name)) return "chemin interdit";
  if (flags & 1) return "protégé par un mot de passe";
  if (method !== 0 && method !== 8) return "compression inconnue";
  if (/\.(zip|7z|rar|tar|t?gz)$/i.test(name)) return "archive dans l'archive : à décompresser d'abord";
  if (one.size > MOST_FILE || one.size > MOST_RATIO * (one.packed + 10) || one.local + 30 + one.packed > file.size) return "taille annoncée impossible";
  return "";
}

/** Each file of the archive: {name, size, fault} and, without a fault, blob() and head(most). Raises "zip". */
export async function entries(file) {
  try {
    return await listed(file);
  } catch {
    throw new Error("zip");
  }
}

async function listed(file) {
  const { count, offset, size } = await directory(file);
  if (count > MOST_ENTRIES || size > 100e6) throw new Error("zip");
  const list = await view(file.slice(offset, offset + size));
  const found = [];
  let at = 0, total = 0;
  for (let number = 0; number < count; number += 1) {
    if (at + 46 > list.byteLength || list.getUint32(at, true) !== 0x02014b50) throw new Error("zip");
    const flags = list.getUint16(at + 8, true), method = list.getUint16(at + 10, true), sum = list.getUint32(at + 16, true);
    const [names, extra, comment] = [28, 30, 32].map((place) => list.getUint16(at + place, true));
    const one = places(list, at, names, extra);
    const name = new TextDecoder(flags & 0x800 ? "utf-8" : "windows-1252").decode(new Uint8Array(list.buffer, at + 46, names));
    at += 46 + names + extra + comment;
    if (name.endsWith("/")) continue;
    total += one.size;
    const packed = async () => {
      const header = await view(file.slice(one.local, one.local + 30));
      const begin = one.local + 30 + header.getUint16(26, true) + header.getUint16(28, true);
      return file.slice(begin, begin + one.packed);
    };
    const form = { method, size: one.size, sum };
    found.push({
      name, size: one.size, local: one.local, packed: one.packed, fault: fault(name, flags, method, one, file),
      blob: async () => unpacked(await packed(), form, one.size), head: async (most) => unpacked(await packed(), form, Math.min(most, one.size)),
    });
  }
  if (total > MOST_TOTAL || overlap(found)) throw new Error("zip");
  return found;
}

/** Entries that share their bytes: how a small archive becomes endless. */
function overlap(found) {
  let end = 0;
  return [...found].sort((a, b) => a.local - b.local).some((one) => { const over = one.local < end; end = one.local + 30 + one.packed; return over; });
}
