/** JSON web tokens signed with HMAC-SHA256 (RFC 7519), as Supabase's keys are: who asks, and what that one may. */
import { createHmac, timingSafeEqual } from "node:crypto";

/** Return the token's role; undefined when it is not signed with `secret`, is no such token, or has expired. */
export function roleOf(token: string, secret: string): string | undefined {
  const [head, body, signature, ...rest] = token.split(".");
  if (head === undefined || body === undefined || signature === undefined || rest.length > 0) return undefined;
  const expected = createHmac("sha256", secret).update(`${head}.${body}`).digest();
  const given = Buffer.from(signature, "base64url");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) return undefined;
  if (parsed(head)["alg"] !== "HS256") return undefined;
  const { role, exp } = parsed(body);
  if (typeof exp === "number" && exp * 1000 < Date.now()) return undefined;
  return typeof role === "string" ? role : undefined;
}

function parsed(part: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, "base64url").toString("utf8"));
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
  } catch (error) {
    if (error instanceof SyntaxError) return {};
    throw error;
  }
}
