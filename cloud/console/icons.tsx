/** @jsxImportSource npm:hono@^4.13.19/jsx */
/**
 * The console's drawings: inline, so that nothing is fetched, in the colour of the text around them. All are
 * decoration: words are beside each.
 *
 * @module
 */
import "npm:hono@^4.13.19/jsx/jsx-runtime";

const small = { width: 12, height: 12, viewBox: "0 0 12 12", "aria-hidden": "true" } as const;

export const Logo = () => (
  <svg width="26" height="20" viewBox="0 0 26 20" aria-hidden="true">
    <rect x="1" y="3" width="12" height="14" rx="2.5" class="logo-d" />
    <circle cx="18" cy="10" r="7" class="logo-c" />
    <path d="M4 8h6M4 12h6" class="logo-d" />
    <path d="M15 8h6M15 12h6" class="logo-c" />
  </svg>
);

/** Shapes of states: each differs without its colour. */
export const Dot = () => (
  <svg {...small}>
    <circle cx="6" cy="6" r="5" fill="currentColor" />
  </svg>
);
export const Half = () => (
  <svg {...small}>
    <circle cx="6" cy="6" r="4.8" fill="none" stroke="currentColor" stroke-width="1.6" />
    <path d="M6 1.2A4.8 4.8 0 0 0 6 10.8Z" fill="currentColor" />
  </svg>
);
export const Triangle = () => (
  <svg {...small}>
    <path d="M6 .8 11.6 11H.4Z" fill="currentColor" />
  </svg>
);
export const Dashed = () => (
  <svg {...small}>
    <circle cx="6" cy="6" r="4.8" fill="none" stroke="currentColor" stroke-width="1.6" stroke-dasharray="2.6 2.4" />
  </svg>
);
export const Ring = () => (
  <svg {...small}>
    <circle cx="6" cy="6" r="4" fill="none" stroke="currentColor" stroke-width="1.5" />
  </svg>
);
export const Check = () => (
  <svg {...small}>
    <path
      d="M2 6.4 4.8 9.2 10 3.2"
      fill="none"
      stroke="currentColor"
      stroke-width="2"
      stroke-linecap="round"
      stroke-linejoin="round"
    />
  </svg>
);
export const Lens = () => (
  <svg width="15" height="15" viewBox="0 0 15 15" aria-hidden="true">
    <circle cx="6.3" cy="6.3" r="4.6" fill="none" stroke="currentColor" stroke-width="1.6" />
    <path d="m10 10 3.6 3.6" stroke="currentColor" stroke-width="1.6" stroke-linecap="round" />
  </svg>
);
export const HalfMoon = () => (
  <svg width="15" height="15" viewBox="0 0 15 15" aria-hidden="true">
    <circle cx="7.5" cy="7.5" r="6" fill="none" stroke="currentColor" stroke-width="1.5" />
    <path d="M7.5 1.5a6 6 0 0 1 0 12Z" fill="currentColor" />
  </svg>
);
export const CopyIcon = () => (
  <svg width="13" height="13" viewBox="0 0 13 13" aria-hidden="true">
    <rect x="4.2" y="4.2" width="7.6" height="7.6" rx="1.6" fill="none" stroke="currentColor" stroke-width="1.4" />
    <path
      d="M2.4 8.6H2A.9.9 0 0 1 1.1 7.7V2A.9.9 0 0 1 2 1.1h5.7a.9.9 0 0 1 .9.9v.4"
      fill="none"
      stroke="currentColor"
      stroke-width="1.4"
    />
  </svg>
);
export const Down = () => (
  <svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">
    <path d="m1.5 3 3.5 4 3.5-4" fill="none" stroke="currentColor" stroke-width="1.6" />
  </svg>
);
/** A device: square. */
export const Chip = () => (
  <svg width="18" height="18" viewBox="0 0 18 18" aria-hidden="true">
    <rect x="4" y="4" width="10" height="10" rx="1.6" fill="none" stroke="currentColor" stroke-width="1.6" />
    <path
      d="M7 1v3M11 1v3M7 14v3M11 14v3M1 7h3M1 11h3M14 7h3M14 11h3"
      stroke="currentColor"
      stroke-width="1.6"
    />
  </svg>
);
/** The cloud: round. */
export const Cloud = () => (
  <svg width="20" height="18" viewBox="0 0 20 18" aria-hidden="true">
    <path
      d="M6 14.5a4 4 0 0 1-.4-8A5 5 0 0 1 15 7.4a3.6 3.6 0 0 1-.6 7.1Z"
      fill="none"
      stroke="currentColor"
      stroke-width="1.6"
      stroke-linejoin="round"
    />
  </svg>
);
