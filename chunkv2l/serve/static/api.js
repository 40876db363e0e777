/** Talk to the server: JSON there and back, and events while something is made. */

/** An error that the server said, as a sentence. */
export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

/** Return the JSON at an address; errors are sentences. */
export async function getJson(address, options = {}) {
  const response = await reach(address, options);
  return response.json();
}

/** Send JSON; return the answer's JSON. */
export function postJson(address, body) {
  return getJson(address, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });
}

/** Send JSON, and call back with each event of the answer: (name, data). */
export async function postForEvents(address, body, signal, told) {
  const headers = { "content-type": "application/json", accept: "text/event-stream" };
  const response = await reach(address, { method: "POST", headers, body: JSON.stringify(body), signal });
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const { done, value } = await reader.read();
    text += decoder.decode(value, { stream: !done });
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) tell(block, told);
    if (done) return;
  }
}

function tell(block, told) {
  const fields = Object.fromEntries(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
  if (fields.data === undefined) return;
  const data = JSON.parse(fields.data);
  if (fields.event === "error") throw new Refused(data.error, 0);
  told(fields.event, data);
}

async function reach(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server can't be reached: is it still running?", 0);
  }
  if (response.ok) return response;
  let sentence = `The server answered with status ${response.status}.`;
  try {
    sentence = (await response.json()).error ?? sentence;
  } catch {
    // not JSON: the sentence above has to do
  }
  throw new Refused(sentence, response.status);
}
