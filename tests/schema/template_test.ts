import assert from "node:assert/strict";
import { type Json, parseTemplate, renderTemplate, templateFields } from "../../schema.ts";

function render(text: string, values: Record<string, Json>): string | undefined {
  return renderTemplate(parseTemplate(text), (name) => values[name]);
}

Deno.test("template: literals, fields and padding are put together", () => {
  assert.equal(render("d#${a}:${n:8:0}!", { a: "x", n: 42 }), "d#x:00000042!");
  assert.equal(render("${n:4}", { n: -5 }), "00-5");
  assert.equal(render("${n:2:0}", { n: 12345 }), "12345");
  assert.equal(render("${s:5: }", { s: "ab" }), "   ab");
  assert.equal(render("${b}", { b: false }), "false");
  assert.equal(render("${e}.", { e: "" }), ".");
  assert.equal(render("$x {} $$", {}), "$x {} $$");
  assert.equal(render("${big}", { big: { $n: "9007199254740993" } }), "9007199254740993");
});

Deno.test("template: a missing or unfit value gives no text", () => {
  assert.equal(render("${a}", {}), undefined);
  assert.equal(render("${a}", { a: null }), undefined);
  assert.equal(render("${a}", { a: 1.5 }), undefined);
  assert.equal(render("${a}", { a: ["x"] }), undefined);
  assert.equal(render("${a}", { a: "🙂" }), "🙂");
  assert.equal(render("${a:3:0}", { a: "🙂" }), undefined);
});

Deno.test("template: the named fields are listed once, in order", () => {
  assert.deepEqual(templateFields(parseTemplate("${b}${a}x${b:2:0}")), ["b", "a"]);
});

Deno.test("template: what is no placeholder is refused", () => {
  for (
    const wrong of [
      "${}",
      "${a.b}",
      "${a[0]}",
      "${a:x}",
      "${a:2:00}",
      "${a:2:0:1}",
      "${a::0}",
      "${a",
      "${a:2000}",
      "${a b}",
    ]
  ) {
    assert.throws(() => parseTemplate(wrong), RangeError, wrong);
  }
});
