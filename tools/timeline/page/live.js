// Follows a run that goes on: its server sends what is new, as a view of the newest records.

function follow() {
  const steps = new EventSource(`steps?after=${run.live}`);
  const word = byId("live");
  const state = () => (run.units > run.first ? `live, unit ${run.units - 1}` : "live, before unit 0");
  const tell = (text, over = false) => {
    word.hidden = false;
    word.textContent = text;
    word.classList.toggle("over", over);
  };
  steps.addEventListener("step", (event) => {
    const follows = view.follows;
    append(run.sides[0], JSON.parse(event.data));
    measure();
    fillHeader();
    if (found.query && found.at < 0) find(found.query);
    fillCount();
    tell(state());
    if (follows) lookAtEnd();
    changed(view.unit !== null);
  });
  steps.addEventListener("again", () => location.reload());
  steps.addEventListener("end", () => {
    steps.close();
    tell(`the run has ended, ${run.units - run.first} units`, true);
  });
  steps.onerror = () => tell("the server is gone, start it again: wangraph timeline --live", true);
  steps.onopen = () => tell(state());
  if (view.unit === null) lookAtEnd();
}
