// Asks the backend's getSecret for each case on stdin: [{key, required, environ}]; answers [{value} | {refused: words}].
const { getSecret, SecretNotFound } = require("/app/lib/secrets.js");

const cases = JSON.parse(require("node:fs").readFileSync(0, "utf8"));
const inherited = { ...process.env };

const answers = cases.map(({ key, required, environ }) => {
  for (const name of Object.keys(process.env)) delete process.env[name];
  Object.assign(process.env, inherited, environ);
  try {
    return { value: getSecret(key, required) ?? null };
  } catch (error) {
    if (!(error instanceof SecretNotFound)) throw error;
    return { refused: error.message };
  }
});
process.stdout.write(JSON.stringify(answers));
