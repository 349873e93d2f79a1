// What every page shares: ages that keep themselves, focus on what went wrong, thumbnails of exams.

const MINUTE = 60_000;

/** « il y a 12 min » from an ISO instant; the full date after a month. */
export function age(iso, full, now = Date.now()) {
  const minutes = Math.floor((now - Date.parse(iso)) / MINUTE);
  if (Number.isNaN(minutes)) return full;
  if (minutes < 1) return "à l'instant";
  if (minutes < 60) return `il y a ${minutes} min`;
  if (minutes < 48 * 60) return `il y a ${Math.floor(minutes / 60)} h`;
  if (minutes < 31 * 1440) return `il y a ${Math.floor(minutes / 1440)} j`;
  return full;
}

export function refreshAges(root = document) {
  for (const time of root.querySelectorAll("time[data-age]")) {
    time.dataset.complet ??= time.textContent;
    const text = age(time.dateTime, time.dataset.complet);
    if (time.textContent !== text) time.textContent = text;
  }
}

/** After a refusal the reader starts at the reason. */
export function focusFault() {
  document.querySelector("[data-focus]")?.focus();
}

/** A done-message is of this visit only: a reload does not say it again. */
export function forgetDone() {
  const here = new URL(location.href);
  if (!here.searchParams.has("fait")) return;
  here.searchParams.delete("fait");
  history.replaceState(null, "", here);
}

const thumbnails = new Map();

/** The middle frame of a study's first series with pictures, small; asked once per study and page. */
export async function thumbnail(study) {
  if (!thumbnails.has(study)) thumbnails.set(study, findThumbnail(study));
  return thumbnails.get(study);
}

async function findThumbnail(study) {
  const root = `/dicom-web/studies/${study}`;
  const series = await dicomJson(`${root}/series?includefield=00201209`);
  const pick = series.find((one) => !["SR", "PR", "KO"].includes(text(one, "00080060"))) ?? series[0];
  if (!pick) return null;
  const uid = text(pick, "0020000E");
  const middle = Math.floor((Number(text(pick, "00201209")) || 1) / 2);
  const found = await dicomJson(`${root}/series/${uid}/instances?limit=1&offset=${middle}`);
  return found[0] ? `${root}/series/${uid}/instances/${text(found[0], "00080018")}/rendered?viewport=144,144&accept=image/jpeg` : null;
}

export async function dicomJson(url) {
  const answer = await fetch(url, { headers: { accept: "application/dicom+json" } });
  if (answer.status === 204) return [];
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

/** First value of a DICOM JSON attribute, as text. */
export function text(dataset, tag) {
  const value = dataset[tag]?.Value?.[0];
  return value == null ? "" : typeof value === "object" ? (value.Alphabetic ?? "") : String(value);
}

export function fillThumbnails(root = document) {
  for (const image of root.querySelectorAll("img[data-etude]:not([src])")) {
    thumbnail(image.dataset.etude).then((address) => { if (address) image.src = address; }, () => {});
  }
}

/** Calls `work` every `pause` ms while the page is visible, never twice at once; at once on coming back. */
export function whileVisible(work, pause) {
  let timer = 0;
  let running = false;
  const turn = async () => {
    clearTimeout(timer);
    if (document.hidden || running) return;
    running = true;
    try { await work(); } catch { /* the network is away: the next turn tries again */ }
    running = false;
    timer = setTimeout(turn, pause);
  };
  document.addEventListener("visibilitychange", turn);
  timer = setTimeout(turn, pause);
  return turn;
}

refreshAges();
setInterval(refreshAges, 15_000);
focusFault();
forgetDone();
fillThumbnails();
