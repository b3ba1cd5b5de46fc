/**
 * Publishing through AWS IoT Core's data plane (`POST /topics/TOPIC?qos=1`), signed with Signature Version 4 for the
 * service `iotdata`. Loading this module loads the AWS SDK; `open.ts` imports it only for such a URL.
 *
 * @module
 */
import { DynamoDBClient } from "npm:@aws-sdk/client-dynamodb@^3.1000.0";
import { SignatureV4 } from "npm:@smithy/signature-v4@^5.7.0";
import { SyncError } from "../../schema/errors.ts";
import { answeredObject, HttpPublisher, type HttpPublisherOptions, type PublishRequest } from "./http.ts";

/** Credentials of AWS. */
export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** Options of an {@link IotDataPublisher}. */
export interface IotDataPublisherOptions extends HttpPublisherOptions {
  /** `https://…-ats.iot.REGION.amazonaws.com`. */
  readonly endpoint: string;
  readonly region: string;
  /** Default: the AWS default chain. */
  readonly credentials?: AwsCredentials;
  /** The clock, ms; default `Date.now`. AWS refuses a signature that is 5 minutes off. */
  readonly now?: () => number;
}

/** Publishes through AWS IoT Core. */
export class IotDataPublisher extends HttpPublisher {
  protected readonly broker: string;
  readonly #endpoint: URL;
  readonly #signer: SignatureV4;
  readonly #now: () => number;
  readonly #aws: DynamoDBClient;

  constructor(options: IotDataPublisherOptions) {
    super(options);
    this.#endpoint = new URL(options.endpoint);
    this.broker = `AWS IoT Core at ${this.#endpoint.host}`;
    this.#now = options.now ?? Date.now;
    // Never sends anything: it supplies the SDK's default credential chain (with caching and renewal) and SHA-256.
    this.#aws = new DynamoDBClient({
      region: options.region,
      ...(options.credentials ? { credentials: options.credentials } : {}),
    });
    const { credentials, sha256 } = this.#aws.config;
    this.#signer = new SignatureV4({ service: "iotdata", region: options.region, credentials, sha256 });
  }

  protected async request(topic: string, payload: Uint8Array, retain: boolean): Promise<PublishRequest> {
    const { hostname, port, host, protocol, origin } = this.#endpoint;
    // One path segment: a slash of the topic is written as %2F, and the signer encodes the percent sign once more.
    const path = `/topics/${encodeURIComponent(topic)}`;
    const unsigned = {
      method: "POST",
      protocol,
      hostname,
      ...(port === "" ? {} : { port: Number(port) }),
      path,
      query: { qos: "1", ...(retain ? { retain: "true" } : {}) },
      headers: { "host": host, "content-type": "application/octet-stream" },
      body: payload,
    };
    try {
      const { headers } = await this.#signer.sign(unsigned, { signingDate: new Date(this.#now()) });
      // `fetch` sets the host header itself, and does not accept one.
      const { host: _host, ...sent } = headers;
      return { url: `${origin}${path}?qos=1${retain ? "&retain=true" : ""}`, headers: sent, body: payload };
    } catch (cause) {
      throw new SyncError("denied", `no AWS credentials for ${this.broker}: ${(cause as Error).message}`, {
        cause,
        // Roles are renewed over the network: the next attempt may get them.
        retryable: true,
        hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, with iot:Publish on the topics",
      });
    }
  }

  /** `{"message": "OK", "traceId"}`; by its reference an empty body. */
  protected isOwnAnswer(body: string): boolean {
    return body === "" || answeredObject(body) !== undefined;
  }

  override async close(): Promise<void> {
    await super.close();
    this.#aws.destroy();
  }
}
