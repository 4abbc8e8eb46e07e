/** The backend: a small HTTP service that says which secrets reached it, never what they are. */
import { pbkdf2Sync } from "node:crypto";
import { createServer } from "node:http";
import { getSecret } from "./lib/secrets";

const PORT = Number(process.env["PORT"] ?? 3000);
const FINGERPRINT_ROUNDS = 8192;
const KEYS = [
  "SUPABASE_URL",
  "SUPABASE_ANON_KEY",
  "SUPABASE_SERVICE_ROLE_KEY",
  "JWT_SECRET",
  "ENCRYPTION_KEY",
  "OPENAI_API_KEY",
  "GEMINI_API_KEY",
];

/** The same short, salted and slow fingerprint that the shim and the host's tool show. */
function fingerprint(value: string, key: string): string {
  const text = pbkdf2Sync(value, `docker-secrets-shim\0${key}\0`, FINGERPRINT_ROUNDS, 6, "sha256").toString("hex");
  return `${text.slice(0, 4)}-${text.slice(4, 8)}-${text.slice(8)}`;
}

function fingerprints(): Record<string, string> {
  const found: Record<string, string> = {};
  for (const key of KEYS) {
    const value = getSecret(key);
    if (value) found[key] = fingerprint(value, key);
  }
  return found;
}

getSecret("SUPABASE_URL", true); // without it the backend is of no use: end now, not at the first request
const health = JSON.stringify({ service: "backend", status: "ok", pid: process.pid, secrets: fingerprints() });

const server = createServer((request, response) => {
  const isHealth = request.method === "GET" && request.url === "/health";
  response.writeHead(isHealth ? 200 : 404, { "content-type": "application/json" });
  response.end(isHealth ? health : JSON.stringify({ error: "not found" }));
});

server.listen(PORT, () => console.log(`backend: listening on ${PORT}`));

// PID 1 has no default signal handlers: without these a stop would wait for SIGKILL.
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    server.close(() => process.exit(0));
    server.closeIdleConnections();
  });
}
