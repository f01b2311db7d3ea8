// Questions of a page to Python: changes of its model that Python answers. It is put in front of the widgets that ask,
// so it has no imports and exports nothing.

const PATIENCE = 4000; // ms after which an unanswered question no longer holds back the next one

/**
 * At most one question is on the way; later changes wait for its answer together, the newest of each trait.
 *
 * `ask` takes values of traits, `answered` sends what waits, `drop` forgets what waits of a trait, `wanted` gives the
 * value that waits, else the model's, and `stop` ends it all. `onWaiting` hears whether an answer is waited for.
 */
function questions(model, onWaiting = () => {}) {
  let [waiting, busy, timer] = [{}, false, 0];
  const text = JSON.stringify;
  const differs = ([name, value]) => ArrayBuffer.isView(value) || text(value) !== text(model.get(name));
  function answered() {
    clearTimeout(timer);
    const changes = Object.entries(waiting).filter(differs); // Python does not answer to what it has already
    waiting = {};
    busy = changes.length > 0;
    onWaiting(busy);
    if (!busy) return;
    timer = setTimeout(answered, PATIENCE);
    model.set(Object.fromEntries(changes));
    model.save_changes();
  }
  function ask(changes) {
    Object.assign(waiting, changes);
    if (!busy) answered();
  }
  return { ask, answered, drop: (name) => delete waiting[name], stop: () => clearTimeout(timer),
    wanted: (name) => waiting[name] ?? model.get(name) };
}
