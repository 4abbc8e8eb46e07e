/** Health check: ask one URL and end with 0 when it answers 200. Says nothing; the engine keeps what a check prints. */
import { get } from "node:http";

const [url] = process.argv.slice(2);
if (url === undefined) throw new Error("usage: node probe.js URL");

get(url, { timeout: 4000 }, (answer) => {
  answer.resume();
  process.exitCode = answer.statusCode === 200 ? 0 : 1;
})
  .on("timeout", () => process.exit(1))
  .on("error", () => process.exit(1));
