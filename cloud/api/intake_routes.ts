/**
 * The routes by which AWS and brokers deliver data, each to its part of {@link Intake}. AWS IoT Core asks for a
 * confirmation on the same paths before it forwards anything.
 *
 * @module
 */
import type { Hono } from "npm:hono@^4.13.19";
import type { Access } from "./access.ts";
import { ApiError } from "./errors.ts";
import type { Intake } from "./intake.ts";
import { confirmationIn, type IotDestinations } from "./iot_destination.ts";

/** What the routes work on. */
export interface IntakeRoutes {
  readonly access: Access;
  /** Absent: nothing is published here. */
  readonly intake?: Intake;
  readonly destinations: IotDestinations;
}

const routes = [["/stream", "stream"], ["/stream/lost", "lost"], ["/up", "forwarded"], ["/sync", "forwarded"]] as const;

/** Adds the routes. */
export function intakeRoutes(app: Hono, { access, intake, destinations }: IntakeRoutes): void {
  for (const [path, take] of routes) {
    app.post(path, async (c) => {
      const confirmation = take === "forwarded" ? await confirmationIn(c.req.raw) : undefined;
      if (confirmation) {
        await destinations.confirm(confirmation, access.may(c, "forward"));
        return c.json({});
      }
      access.requireForwarder(c);
      if (!intake) throw new ApiError(503, "config", "nothing is published here: a publisher is missing");
      return await intake[take](c);
    });
  }
}
