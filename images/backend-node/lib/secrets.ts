/**
 * One value, by the same order and the same trimming as the shim at the start of the container.
 *
 * The file that `NAME_FILE` points to wins, then a file in a secrets root whose name means NAME (`supabase_url` for
 * SUPABASE_URL), then the environment. An empty file or variable is not set. A file that only root may read counts as delivered when the environment has the
 * value: the shim read it as root before it became the service's user.
 */
import { closeSync, constants, fstatSync, openSync, readFileSync, readdirSync, realpathSync } from "node:fs";
import { join, sep } from "node:path";

export class SecretNotFound extends Error {
  override readonly name = "SecretNotFound";
}

const DEFAULT_ROOTS = ["/run/secrets", "./secrets"];

/**
 * Return the value of `name`, or undefined when nothing provides it.
 *
 * @param name the key, e.g. `SUPABASE_URL`
 * @param required throw `SecretNotFound` instead when it is missing or empty
 * @throws SecretNotFound it is required and missing, or a file that should hold it cannot be used
 */
export function getSecret(name: string, required: true): string;
export function getSecret(name: string, required?: boolean): string | undefined;
export function getSecret(name: string, required = false): string | undefined {
  const pointed = fromPointer(name);
  const found = pointed || fromRoots(name); // an empty file is not set
  const value = found || process.env[name];
  if (required && !value) {
    const state = [pointed, found, value].includes("") ? "is empty" : "nothing provides it";
    throw new SecretNotFound(
      `${name} is required, and ${state}; looked at ${[name, `${name}_FILE`, ...secretsRoots()].join(", ")}`,
    );
  }
  return value;
}

/** Return the value of `name`, or `fallback` when nothing, or an empty one, provides it. */
export function readSecretOrEnv(name: string, fallback = ""): string {
  return getSecret(name) || fallback;
}

function secretsRoots(): string[] {
  const given = (process.env["SHIM_SECRETS_DIR"] ?? "").split(":").filter((path) => path !== "");
  if (given.length > 0) return given;
  const credentials = process.env["CREDENTIALS_DIRECTORY"] ?? "";
  return credentials.startsWith("/") ? [credentials, ...DEFAULT_ROOTS] : DEFAULT_ROOTS;
}

function fromPointer(name: string): string | undefined {
  for (const variable of [`${name}_FILE`, `${name}__FILE`, `FILE__${name}`]) {
    const path = (process.env[variable] ?? "").replace(/^["'\s]+|["'\s]+$/g, "");
    if (path !== "") return readSecret(path, name);
  }
  return undefined;
}

function fromRoots(name: string): string | undefined {
  for (const root of secretsRoots()) {
    try {
      const file = fileFor(name, root);
      if (file !== undefined) return readSecret(inside(root, file, name), name);
    } catch (error) {
      if (error instanceof SecretNotFound && isDelivered(error, name)) return undefined;
      throw error;
    }
  }
  return undefined;
}

/**
 * The shim read it as root and handed it over, before it became the service's user; or it links to nothing, or the
 * engine made a folder in its place.
 */
function isDelivered(error: SecretNotFound, name: string): boolean {
  return ["EACCES", "ENOENT", "EISDIR"].includes(errnoCode(error.cause)) && Boolean(process.env[name]);
}

/** A link may lead to another file of its root (Kubernetes makes such), and nowhere else. */
function inside(root: string, file: string, name: string): string {
  const path = join(root, file);
  try {
    const target = realpathSync(path);
    if (!target.startsWith(realpathSync(root) + sep)) {
      throw new SecretNotFound(`${name}: ${path} is a link that leaves ${root}`);
    }
    return target;
  } catch (error) {
    if (error instanceof SecretNotFound) throw error;
    throw unusable(name, path, error);
  }
}

function fileFor(name: string, root: string): string | undefined {
  const matches = filesIn(root, name).filter((file) => !isSkipped(file) && folded(file) === folded(name));
  if (matches.length > 1) {
    throw new SecretNotFound(`${matches.map((file) => join(root, file)).join(" and ")} both map to ${name}`);
  }
  return matches[0];
}

function filesIn(root: string, name: string): string[] {
  try {
    return readdirSync(root).sort();
  } catch (error) {
    if (["ENOENT", "ENOTDIR"].includes(errnoCode(error))) return [];
    throw unusable(name, root, error);
  }
}

/** Hidden, an example, or documentation: no secret. */
function isSkipped(file: string): boolean {
  return file.startsWith(".") || file.startsWith("README") || file.endsWith(".example") || file.endsWith(".md");
}

/** The form in which a file's name and a key are compared: case and `.`, `-`, `_` do not count. */
function folded(name: string): string {
  return name.toLowerCase().replace(/[._-]/g, "");
}

function readSecret(path: string, name: string): string {
  let descriptor: number | undefined;
  try {
    // Not blocking: a FIFO in the place of a file must not stop the service.
    descriptor = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const status = fstatSync(descriptor);
    if (status.isDirectory()) throw Object.assign(new Error("a directory"), { code: "EISDIR" });
    if (!status.isFile()) throw new SecretNotFound(`${name}: ${path} is not a regular file`);
    const value = clean(readFileSync(descriptor));
    if (value.includes("\0")) throw new SecretNotFound(`${name}: ${path} holds a NUL byte`);
    return value;
  } catch (error) {
    if (error instanceof SecretNotFound) throw error;
    throw unusable(name, path, error);
  } finally {
    if (descriptor !== undefined) closeSync(descriptor);
  }
}

/** Drop the line ends at the end and a byte order mark; decode what Windows PowerShell writes (UTF-16). */
function clean(data: Buffer): string {
  return decoded(data).replace(/(\r?\n)+$/, "");
}

function decoded(data: Buffer): string {
  if (data.length % 2 === 0 && data[0] === 0xff && data[1] === 0xfe) return data.subarray(2).toString("utf16le");
  if (data.length % 2 === 0 && data[0] === 0xfe && data[1] === 0xff) {
    return Buffer.from(data.subarray(2)).swap16().toString("utf16le");
  }
  const text = data.toString("utf8");
  return text.charCodeAt(0) === 0xfeff ? text.slice(1) : text;
}

function unusable(name: string, path: string, error: unknown): SecretNotFound {
  return new SecretNotFound(`${name}: ${path} cannot be read (${errnoCode(error)})`, { cause: error });
}

function errnoCode(error: unknown): string {
  return error instanceof Error ? ((error as NodeJS.ErrnoException).code ?? error.name) : "";
}
