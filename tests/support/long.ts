/**
 * Whether tests take as long as they can: `TWINTABLE_LONG=1 deno task test`. Each says what it does less of otherwise.
 *
 * @module
 */
export const long = Deno.env.get("TWINTABLE_LONG") === "1";
