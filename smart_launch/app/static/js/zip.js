// A zip archive read where it lies: its directory first, each file unpacked as it is needed, bounded. APPNOTE.TXT §4.3
const MOST_FILE = 2e9, MOST_ENTRIES = 100000;

async function view(blob) { return new DataView(await blob.arrayBuffer()); }

/** Where the central directory lies: {count, offset, size}. Raises "zip". */
async function directory(file) {
  const start = Math.max(0, file.size - 65557);
  const tail = await view(file.slice(start));
  for (let at = tail.byteLength - 22; at >= 0; at -= 1) {
    if (tail.getUint32(at, true) !== 0x06054b50) continue;
    let found = { count: tail.getUint16(at + 10, true), size: tail.getUint32(at + 12, true), offset: tail.getUint32(at + 16, true) };
    if (found.offset === 0xffffffff || found.count === 0xffff) { // ZIP64
      const locator = await view(file.slice(start + at - 20, start + at));
      const record = await view(file.slice(Number(locator.getBigUint64(8, true))).slice(0, 56));
      found = { count: Number(record.getBigUint64(32, true)), size: Number(record.getBigUint64(40, true)), offset: Number(record.getBigUint64(48, true)) };
    }
    return found;
  }
  throw new Error("zip");
}

/** Unpacked, but never more than the directory promised. */
async function unpacked(packed, method, size) {
  if (method === 0) return packed;
  if (method !== 8) throw new Error("zip");
  const chunks = [];
  let got = 0;
  for (const reader = packed.stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader(); ;) {
    const { done, value } = await reader.read();
    if (done) break;
    got += value.length;
    if (got > size) { await reader.cancel(); throw new Error("zip"); }
    chunks.push(value);
  }
  return new Blob(chunks);
}

/** Each file of the archive: {name, size, blob()}. */
export async function* entries(file) {
  const { count, offset, size } = await directory(file).catch(() => { throw new Error("zip"); });
  if (count > MOST_ENTRIES || size > 100e6) throw new Error("zip");
  const list = await view(file.slice(offset, offset + size));
  const decode = new TextDecoder();
  let at = 0;
  for (let number = 0; number < count; number += 1) {
    if (at + 46 > list.byteLength || list.getUint32(at, true) !== 0x02014b50) throw new Error("zip");
    const method = list.getUint16(at + 10, true), packed = list.getUint32(at + 20, true), full = list.getUint32(at + 24, true);
    const [names, extra, comment] = [28, 30, 32].map((place) => list.getUint16(at + place, true));
    const local = list.getUint32(at + 42, true);
    const name = decode.decode(new Uint8Array(list.buffer, at + 46, names));
    at += 46 + names + extra + comment;
    if (name.endsWith("/") || full > MOST_FILE || packed === 0xffffffff) continue;
    const blob = async () => {
      const header = await view(file.slice(local, local + 30));
      const begin = local + 30 + header.getUint16(26, true) + header.getUint16(28, true);
      return unpacked(file.slice(begin, begin + packed), method, full);
    };
    yield { name, size: full, blob };
  }
}
