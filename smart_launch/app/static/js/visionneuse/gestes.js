// Mouse, pen and fingers on the scene, as verbs: scroll, window, move, zoom.

const STEP = 9; // CSS pixels of drag per image

export function gestures(scene, verbs) {
  const fingers = new Map();
  let tool = null;
  let rest = 0;
  let pinch = null;
  let wheel = 0;

  const toolOf = (event) => {
    if (event.pointerType === "mouse" && event.button === 2) return "fenetre";
    if (event.pointerType === "mouse" && event.button === 1) return "deplacer";
    return verbs.tool();
  };

  scene.addEventListener("contextmenu", (event) => event.preventDefault());
  scene.addEventListener("pointerdown", (event) => {
    scene.focus({ preventScroll: true });
    event.preventDefault();
    scene.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 1) { tool = toolOf(event); rest = 0; }
    if (fingers.size === 2) { tool = "deux"; pinch = spread(fingers); }
  });
  scene.addEventListener("pointermove", (event) => {
    const last = fingers.get(event.pointerId);
    if (!last) return;
    const dx = event.clientX - last.x;
    const dy = event.clientY - last.y;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (tool === "deux" && fingers.size === 2) {
      const now = spread(fingers);
      const box = scene.getBoundingClientRect();
      verbs.zoom(now.distance / (pinch.distance || 1), now.x - box.left, now.y - box.top);
      verbs.move(now.x - pinch.x, now.y - pinch.y);
      pinch = now;
    } else if (tool === "defiler") {
      rest += dy;
      const steps = Math.trunc(rest / STEP);
      if (steps) { rest -= steps * STEP; verbs.scroll(steps); }
    } else if (tool === "fenetre") verbs.window(dx, dy);
    else if (tool === "deplacer") verbs.move(dx, dy);
    else if (tool === "zoomer") verbs.zoom(Math.exp(-dy / 150));
  });
  for (const name of ["pointerup", "pointercancel"]) {
    scene.addEventListener(name, (event) => {
      fingers.delete(event.pointerId);
      if (!fingers.size) { if (tool === "fenetre") verbs.settled(); tool = null; }
      else if (tool === "deux") tool = "attente"; // the finger that stays does not start to scroll
    });
  }
  scene.addEventListener("wheel", (event) => {
    event.preventDefault();
    const box = scene.getBoundingClientRect();
    if (event.ctrlKey) { verbs.zoom(Math.exp(-event.deltaY / 300), event.clientX - box.left, event.clientY - box.top); return; }
    wheel += event.deltaMode === 0 ? event.deltaY / 50 : event.deltaY;
    const steps = Math.abs(event.deltaY) >= 50 && event.deltaMode === 0 ? Math.sign(event.deltaY) : Math.trunc(wheel);
    if (steps) { wheel = 0; verbs.scroll(steps); }
  }, { passive: false });
  scene.addEventListener("dblclick", () => verbs.fit());
}

function spread(fingers) {
  const [a, b] = [...fingers.values()];
  return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, distance: Math.hypot(a.x - b.x, a.y - b.y) };
}
