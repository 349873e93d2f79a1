// Joining documents: progress, drag and drop, and the page stays where it is.

export function deposit(done) {
  const form = document.querySelector("[data-depot]");
  if (!form) return;
  const input = form.querySelector("input[type=file]");
  const bar = form.querySelector("[data-progression]");
  const message = form.querySelector("[data-depot-message]");

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!input.files.length) { message.textContent = "Choisissez un fichier."; input.focus(); return; }
    send(new FormData(form));
  });
  for (const name of ["dragover", "dragleave", "drop"]) {
    form.addEventListener(name, (event) => {
      event.preventDefault();
      form.classList.toggle("survol", name === "dragover");
      if (name === "drop" && event.dataTransfer.files.length) {
        const data = new FormData();
        for (const file of event.dataTransfer.files) data.append("fichier", file);
        send(data);
      }
    });
  }

  function send(data) {
    const request = new XMLHttpRequest();
    const button = form.querySelector("button");
    message.textContent = "";
    bar.hidden = false;
    bar.value = 0;
    button.disabled = true;
    request.upload.addEventListener("progress", (event) => { if (event.lengthComputable) bar.value = (100 * event.loaded) / event.total; });
    request.addEventListener("loadend", () => {
      bar.hidden = true;
      button.disabled = false;
      if (request.status >= 200 && request.status < 300) { form.reset(); done(); return; }
      const said = request.getResponseHeader("content-type")?.startsWith("text/plain") ? request.responseText : "";
      message.textContent = said || "Le document n'est pas parti. Réessayez.";
    });
    request.open("POST", form.action);
    request.setRequestHeader("accept", "application/json");
    request.send(data);
  }
}
