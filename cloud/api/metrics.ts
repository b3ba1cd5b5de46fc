/**
 * Counters as Prometheus text.
 *
 * @module
 */

/** The counters, each named `twintable_<name>_total`; `messagesReceived` becomes `messages_received`. */
export function metricsText(counters: object): string {
  return Object.entries(counters).map(([name, value]) => {
    const full = `twintable_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}_total`;
    return `# TYPE ${full} counter\n${full} ${value}\n`;
  }).join("");
}
