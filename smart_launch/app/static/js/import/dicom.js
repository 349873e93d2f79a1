// The head of a DICOM file: who and what it is, read from its first bytes, bounded. Pure. PS3.5 §7.1, PS3.10 §7.1
const LONG = new Set(["OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV"]);
const DEEPEST = 12, UNDEFINED = 0xffffffff;
const ITEM = 0xfffee000, ITEM_END = 0xfffee00d, END = 0xfffee0dd;
export const EXPLICIT = { implicit: false, little: true }, IMPLICIT = { implicit: true, little: true };
const CHARSETS = {
  "ISO_IR 100": "windows-1252", "ISO_IR 101": "iso-8859-2", "ISO_IR 109": "iso-8859-3", "ISO_IR 110": "iso-8859-4", "ISO_IR 144": "iso-8859-5", "ISO_IR 127": "iso-8859-6",
  "ISO_IR 126": "iso-8859-7", "ISO_IR 138": "iso-8859-8", "ISO_IR 148": "windows-1254", "ISO_IR 203": "iso-8859-15", "ISO_IR 13": "shift_jis", "ISO_IR 166": "windows-874", "ISO_IR 192": "utf-8", GB18030: "gb18030", GBK: "gbk",
};

/** The bytes end before what is wanted: a longer piece may do. */
export class Short extends Error {}
/** Bytes that are no dataset. */
export class Broken extends Error {}

/** One element: its value is [begin, end) of the bytes; `length` may be UNDEFINED. */
function element(view, at, form) {
  if (at + 8 > view.byteLength) throw new Short();
  const tag = ((view.getUint16(at, form.little) << 16) | view.getUint16(at + 2, form.little)) >>> 0;
  if (tag >>> 16 === 0xfffe) return { tag, vr: "", begin: at + 8, length: view.getUint32(at + 4, form.little) };
  if (form.implicit) return { tag, vr: "", begin: at + 8, length: view.getUint32(at + 4, true) };
  const vr = String.fromCharCode(view.getUint8(at + 4), view.getUint8(at + 5));
  if (!/^[A-Z]{2}$/.test(vr)) throw new Broken();
  if (!LONG.has(vr)) return { tag, vr, begin: at + 8, length: view.getUint16(at + 6, form.little) };
  if (at + 12 > view.byteLength) throw new Short();
  return { tag, vr, begin: at + 12, length: view.getUint32(at + 8, form.little) };
}

/** Where a value ends; one of undefined length is walked through. */
function ending(view, one, form, depth) {
  if (one.length !== UNDEFINED) return one.begin + one.length;
  if (depth > DEEPEST) throw new Broken();
  const inner = one.vr === "UN" ? IMPLICIT : form;
  let at = one.begin;
  for (;;) {
    const item = element(view, at, inner);
    if (item.tag === END || item.tag === ITEM_END) return item.begin;
    if (item.tag !== ITEM) throw new Broken();
    at = item.length === UNDEFINED ? itemEnd(view, item.begin, inner, depth + 1) : item.begin + item.length;
  }
}

function itemEnd(view, begin, form, depth) {
  if (depth > DEEPEST) throw new Broken();
  let at = begin;
  for (;;) {
    const one = element(view, at, form);
    if (one.tag === ITEM_END) return one.begin;
    at = ending(view, one, form, depth);
  }
}

/** The elements of `wanted` up to tag `last`: Map of tag → {vr, begin, end}. Raises Short, Broken. */
export function elements(view, begin, form, wanted, last, stop = view.byteLength) {
  const found = new Map();
  let at = begin;
  while (at < stop) {
    const one = element(view, at, form);
    if (one.tag > last) return found;
    const end = ending(view, one, form, 0);
    if (wanted.has(one.tag)) {
      if (end > view.byteLength) throw new Short();
      found.set(one.tag, { vr: one.vr, begin: one.begin, end });
    }
    at = end;
  }
  if (stop === view.byteLength) throw new Short();
  return found;
}

/** The items of a sequence: [begin, end) each, at most `most`. */
export function items(view, one, form, most = 100000) {
  const found = [];
  let at = one.begin;
  while (at < one.end) {
    const item = element(view, at, form);
    if (item.tag === END) break;
    if (item.tag !== ITEM || found.length >= most) throw new Broken();
    const end = item.length === UNDEFINED ? itemEnd(view, item.begin, form, 1) : item.begin + item.length;
    if (end > one.end) throw new Broken();
    found.push({ at, begin: item.begin, end: item.length === UNDEFINED ? end - 8 : end });
    at = end;
  }
  return found;
}

export const ascii = (view, one) => (one ? new TextDecoder("windows-1252").decode(bytes(view, one)).replace(/[\0 ]+$/, "").trimStart() : "");
const bytes = (view, one) => new Uint8Array(view.buffer, view.byteOffset + one.begin, one.end - one.begin);

/** A text by the dataset's character set; escapes of ISO 2022 are left out. */
export function text(view, one, charset) {
  if (!one) return "";
  const names = charset.split("\\").map((name) => name.trim().replace("ISO 2022 IR", "ISO_IR"));
  const label = names.map((name) => CHARSETS[name]).find(Boolean) ?? "windows-1252";
  return new TextDecoder(label).decode(bytes(view, one)).replace(/\x1b\$?[()-]?./g, "").replace(/[\0 ]+$/, "").slice(0, 300);
}

/** `DUPONT^Jean=…` → `DUPONT Jean` */
export const person = (name) => name.split("=")[0].split("^").join(" ").replace(/\s+/g, " ").trim();

const META = new Set([0x00020002, 0x00020003, 0x00020010]);
const TAGS = { charset: 0x00080005, sopClass: 0x00080016, instance: 0x00080018, date: 0x00080020, time: 0x00080030, accession: 0x00080050, modality: 0x00080060, title: 0x00081030, seriesTitle: 0x0008103e, name: 0x00100010, id: 0x00100020, issuer: 0x00100021, birth: 0x00100030, sex: 0x00100040, others: 0x00101002, study: 0x0020000d, series: 0x0020000e, number: 0x00200011 };
const WANTED = new Set(Object.values(TAGS));
const LAST = 0x00200011;
const FORMS = { "1.2.840.10008.1.2": IMPLICIT, "1.2.840.10008.1.2.2": { implicit: false, little: false } };
const DEFLATED = "1.2.840.10008.1.2.1.99";
const STEPS = [16384, 262144, 4194304];

/** Whether the first bytes say that it is DICOM. PS3.10 §7.1 */
export const isDicom = (view) => view.byteLength >= 136 && view.getUint32(128) === 0x4449434d;

/** What a file says of itself, or null when it is no DICOM file or cannot be read. `read(n)`: its first n bytes, `inflate(at)`: those from `at` on, inflated. */
export async function identify(read, inflate) {
  for (const length of STEPS) {
    const view = await read(length);
    if (!isDicom(view)) return null;
    try {
      return await head(view, inflate);
    } catch (error) {
      if (error instanceof Short && view.byteLength >= length) continue;
      if (error instanceof Short || error instanceof Broken || error instanceof RangeError) return null;
      throw error;
    }
  }
  return null;
}

async function head(view, inflate) {
  const group = element(view, 132, EXPLICIT);
  if (group.tag !== 0x00020000 || group.length !== 4) throw new Broken();
  const end = group.begin + 4 + view.getUint32(group.begin, true);
  if (end > view.byteLength) throw new Short();
  const meta = elements(view, group.begin + 4, EXPLICIT, META, 0x0002ffff, end);
  const syntax = ascii(view, meta.get(0x00020010));
  if (syntax === DEFLATED) return told(await inflate(end), 0, EXPLICIT);
  return told(view, end, FORMS[syntax] ?? EXPLICIT);
}

function told(view, begin, form) {
  let found;
  try {
    found = elements(view, begin, form, WANTED, LAST);
  } catch (error) {
    if (!(error instanceof Short) || view.byteLength >= STEPS[0]) throw error;
    found = whole(view, begin, form); // a file that ends before: an SR without pixels may
  }
  const charset = ascii(view, found.get(TAGS.charset));
  const plain = (name) => ascii(view, found.get(TAGS[name]));
  const word = (name) => text(view, found.get(TAGS[name]), charset);
  const others = found.has(TAGS.others) ? identifiers(view, found.get(TAGS.others), form, charset) : [];
  const ids = [{ value: word("id"), issuer: word("issuer") }, ...others].filter((one) => one.value);
  return {
    study: plain("study"), series: plain("series"), instance: plain("instance"), sopClass: plain("sopClass"), date: plain("date"), time: plain("time"), accession: word("accession"), modality: plain("modality"),
    title: word("title"), seriesTitle: word("seriesTitle"), number: plain("number"), patient: { name: word("name"), birth: plain("birth"), sex: plain("sex"), ids },
  };
}

function whole(view, begin, form) {
  const longer = new Uint8Array(view.byteLength + 8);
  longer.set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  longer.set(form.little ? [0xff, 0x7f, 0, 0] : [0x7f, 0xff, 0, 0], view.byteLength);
  if (!form.implicit) longer.set([0x55, 0x4c, 0, 0], view.byteLength + 4);
  return elements(new DataView(longer.buffer), begin, form, WANTED, LAST);
}

function identifiers(view, one, form, charset) {
  return items(view, one, form, 20).map((item) => {
    const found = elements(view, item.begin, form, new Set([TAGS.id, TAGS.issuer]), 0xfffcffff, item.end);
    return { value: text(view, found.get(TAGS.id), charset), issuer: text(view, found.get(TAGS.issuer), charset) };
  });
}
