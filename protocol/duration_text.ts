/**
 * Durations as people read them: on the command line, in what is said of a device, in the console.
 *
 * @module
 */

/**
 * At most two units, each cut and not rounded, so that nothing is said to have lasted longer than it has: `0.3 s`,
 * `14 s`, `52 min`, `3 h 12 min`, `14 h`, `4 d`.
 */
export function durationText(seconds: number): string {
  const whole = Math.max(0, seconds);
  if (whole < 10) return `${Math.floor(whole * 10) / 10} s`;
  if (whole < 60) return `${Math.floor(whole)} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 10 && minutes % 60 > 0) return `${hours} h ${minutes % 60} min`;
  return hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} d`;
}
