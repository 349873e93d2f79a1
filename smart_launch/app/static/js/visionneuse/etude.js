// What an examination holds, from QIDO-RS: series, and the frames of each in the order they are read.
import { dicomJson, text } from "../commun.js";
import { FIELDS, READ, kindOf, reading } from "./lecture.js";

const PAGE = 500;
const INSTANCE_FIELDS = ["00200013", "00280008", "00280010", "00280011", "00280030", "00281050", "00281051", "00280101", "00201041", "00180050", "00200037", "00280004", "00280106", "00280107", ...FIELDS];

const number = (dataset, tag, index = 0) => {
  const value = dataset[tag]?.Value?.[index];
  const found = Number.parseFloat(value);
  return Number.isFinite(found) ? found : null;
};

export async function seriesOf(study) {
  const found = await dicomJson(`/dicom-web/studies/${study}/series?includefield=0008103E&includefield=00201209`);
  return found
    .map((one) => ({
      uid: text(one, "0020000E"),
      modality: text(one, "00080060"),
      number: number(one, "00200011"),
      name: text(one, "0008103E"),
      count: number(one, "00201209") ?? 0,
      read: READ[text(one, "00080060")] ?? "", // no pictures: what stands for one
      root: `/dicom-web/studies/${study}/series/${text(one, "0020000E")}`,
    }))
    .filter((one) => one.uid)
    .sort((a, b) => Number(Boolean(a.read)) - Number(Boolean(b.read)) || (a.number ?? 1e9) - (b.number ?? 1e9) || a.uid.localeCompare(b.uid));
}

/** Every frame of a series: one per instance, or several for a multi-frame one; what is no image is one of its `reading`. */
export async function framesOf(series) {
  const fields = INSTANCE_FIELDS.map((tag) => `includefield=${tag}`).join("&");
  const instances = [];
  for (;;) {
    const page = await dicomJson(`${series.root}/instances?${fields}&limit=${PAGE}&offset=${instances.length}`);
    instances.push(...page);
    if (page.length < PAGE) break;
  }
  instances.sort((a, b) => (number(a, "00200013") ?? 0) - (number(b, "00200013") ?? 0));
  return instances.flatMap((one) => {
    const uid = text(one, "00080018");
    const colour = /RGB|YBR|PALETTE/.test(text(one, "00280004"));
    const common = {
      uid,
      colour,
      spacing: [number(one, "00280030", 0), number(one, "00280030", 1)],
      window: colour ? null : windowOf(one),
      location: number(one, "00201041"),
      thickness: number(one, "00180050"),
      orientation: [0, 1, 2, 3, 4, 5].map((index) => number(one, "00200037", index)),
    };
    const kind = kindOf(one);
    if (kind !== "image") return [{ ...common, frame: 1, reading: reading(one, kind, series.root), address: `${series.root}/instances/${uid}/rendered` }];
    const frames = number(one, "00280008") ?? 1;
    return Array.from({ length: Math.max(1, frames) }, (_, index) => ({
      ...common,
      frame: index + 1,
      address: `${series.root}/instances/${uid}/frames/${index + 1}/rendered`,
    }));
  });
}

function windowOf(one) {
  const center = number(one, "00281050");
  const width = number(one, "00281051");
  if (center !== null && width !== null && width >= 1) return { center, width };
  const low = number(one, "00280106");
  const high = number(one, "00280107");
  if (low !== null && high !== null && high > low) return { center: (low + high) / 2, width: high - low };
  return null;
}

/** A small picture of the series' middle, or null. */
export async function pictureOf(series) {
  if (series.read) return null;
  const offset = Math.floor(series.count / 2);
  const found = await dicomJson(`${series.root}/instances?limit=1&offset=${offset}`);
  if (!found[0]) return null;
  const answer = await fetch(`${series.root}/instances/${text(found[0], "00080018")}/rendered?viewport=160,160`, { headers: { accept: "image/jpeg" } });
  return answer.ok ? createImageBitmap(await answer.blob()) : null;
}

const LETTERS = [["G", "D"], ["P", "A"], ["S", "I"]];

/** Patient directions at the edges [left, right, top, bottom] from ImageOrientationPatient; empty when unknown. PS3.3 C.7.6.2 */
export function edges(orientation) {
  if (orientation.some((value) => value === null)) return ["", "", "", ""];
  const letter = (vector, sign) => {
    const axis = vector.map(Math.abs).indexOf(Math.max(...vector.map(Math.abs)));
    return LETTERS[axis][vector[axis] * sign > 0 ? 0 : 1];
  };
  const row = orientation.slice(0, 3);
  const column = orientation.slice(3);
  return [letter(row, -1), letter(row, 1), letter(column, -1), letter(column, 1)];
}
