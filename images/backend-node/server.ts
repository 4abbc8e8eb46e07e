/**
 * The backend: what a browser talks to.
 *
 * GET /health       names of the secrets that reached it; nothing that is made of a value
 * GET /config       where Supabase is
 * GET /predictions  what prediction-service answers, for a bearer of ANON_KEY or SERVICE_ROLE_KEY
 * POST /seal        the body, sealed with ENCRYPTION_KEY, for a bearer of SERVICE_ROLE_KEY; POST /unseal opens it again
 */
import { IncomingMessage, ServerResponse, createServer, get } from "node:http";
import { seal, unseal } from "./lib/sealing";
import { getSecret } from "./lib/secrets";
import { roleOf } from "./lib/tokens";

const PORT = Number(process.env["PORT"] ?? 3000);
const PREDICTIONS_URL = process.env["PREDICTIONS_URL"] ?? "http://prediction-service:8090/predictions";
const DRAIN_MILLISECONDS = Number(process.env["DRAIN_SECONDS"] ?? 3) * 1000;
const ASKING_MILLISECONDS = 5000;
const MAX_BODY_BYTES = 65536;
const KEYS = [
  "SUPABASE_URL",
  "SUPABASE_ANON_KEY",
  "SUPABASE_SERVICE_ROLE_KEY",
  "JWT_SECRET",
  "ANON_KEY",
  "SERVICE_ROLE_KEY",
  "FACEBOOK_APP_ID",
  "FACEBOOK_APP_SECRET",
  "GOOGLE_CLIENT_ID",
  "GOOGLE_CLIENT_SECRET",
  "TIKTOK_CLIENT_KEY",
  "TIKTOK_CLIENT_SECRET",
  "ENCRYPTION_KEY",
  "OPENAI_API_KEY",
  "GEMINI_API_KEY",
];

/** An answer that is not 200, with its words for the one who asked. */
class Refusal extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

const supabaseUrl = getSecret("SUPABASE_URL", true); // of no use without it: end now, not at the first request
const jwtSecret = getSecret("JWT_SECRET");
const encryptionKey = getSecret("ENCRYPTION_KEY");
const health = { service: "backend", status: "ok", pid: process.pid, secrets: KEYS.filter((key) => getSecret(key)) };

async function answer(request: IncomingMessage): Promise<unknown> {
  switch (`${request.method} ${request.url}`) {
    case "GET /health":
      return health;
    case "GET /config":
      return { supabaseUrl };
    case "GET /predictions":
      admit(request, ["anon", "service_role"]);
      return predictions();
    case "POST /seal":
      admit(request, ["service_role"]);
      return { sealed: seal(await body(request), sealingKey()) };
    case "POST /unseal":
      admit(request, ["service_role"]);
      return { text: unsealed(await body(request)) };
    default:
      throw new Refusal(404, "not found");
  }
}

/** Refuse whoever does not bear a token of one of the roles. */
function admit(request: IncomingMessage, roles: string[]): void {
  if (!jwtSecret) throw new Refusal(503, "JWT_SECRET is not set, so nobody can be known");
  const [scheme, token] = (request.headers.authorization ?? "").split(" ");
  const role = scheme === "Bearer" && token !== undefined ? roleOf(token, jwtSecret) : undefined;
  if (role === undefined) throw new Refusal(401, "send a token: Authorization: Bearer ...");
  if (!roles.includes(role)) throw new Refusal(403, `this is for ${roles.join(", ")}`);
}

function predictions(): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const failed = () => reject(new Refusal(502, "prediction-service does not answer"));
    const asking = get(PREDICTIONS_URL, { timeout: ASKING_MILLISECONDS, agent: false }, (given) => {
      body(given)
        .then((text) => (given.statusCode === 200 ? resolve(JSON.parse(text)) : failed()))
        .catch(failed);
    });
    asking.on("timeout", () => asking.destroy()).on("error", failed);
  });
}

function unsealed(text: string): string {
  try {
    return unseal(text, sealingKey());
  } catch (error) {
    if (error instanceof Refusal) throw error;
    throw new Refusal(400, "this was not sealed here");
  }
}

function sealingKey(): string {
  if (!encryptionKey) throw new Refusal(503, "ENCRYPTION_KEY is not set, so nothing can be sealed");
  return encryptionKey;
}

async function body(message: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of message as AsyncIterable<Buffer>) {
    bytes += part.length;
    if (bytes > MAX_BODY_BYTES) throw new Refusal(413, `at most ${MAX_BODY_BYTES} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function send(response: ServerResponse, status: number, page: unknown): void {
  response.writeHead(status, { "content-type": "application/json" });
  response.end(`${JSON.stringify(page)}\n`);
}

const server = createServer((request, response) => {
  answer(request).then(
    (page) => send(response, 200, page),
    (error: unknown) => {
      // What went wrong in here is nobody's business out there, and its words could hold a value.
      const refusal = error instanceof Refusal ? error : new Refusal(500, "internal error");
      send(response, refusal.status, { error: refusal.message });
    },
  );
});

server.listen(PORT, () => console.log(`backend: listening on ${PORT}`));

// PID 1 has no default signal handlers: without these a stop would wait for SIGKILL. For a while it goes on serving,
// since whoever balances the load needs a moment to learn of it; a second signal ends that.
let stops = 0;
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.on(signal, () => {
    stops += 1;
    const leave = () => {
      server.close(() => process.exit(0));
      server.closeIdleConnections();
    };
    if (stops === 1) setTimeout(leave, DRAIN_MILLISECONDS);
    else leave();
  });
}
