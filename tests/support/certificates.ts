/**
 * Certificates for TLS tests, valid for a century: an authority, a server (`localhost`, `127.0.0.1`) and a device whose
 * common name is `dev-1`. Made once with `openssl`, so that the tests need no tool. They protect nothing.
 *
 * @module
 */
import net from "node:net";
import tls from "node:tls";

/** Why the embedded broker can't serve TLS here, or undefined. A test that needs it is skipped with this reason. */
export const tlsMissing: string | undefined = tls.createServer({}) as unknown instanceof net.Server
  ? undefined
  : "this Deno's node:tls has no complete server";

export const authorityCert = `-----BEGIN CERTIFICATE-----
MIIBWzCCAQKgAwIBAgICEAAwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwRVHdpbnRh
YmxlIHRlc3QgQ0EwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBwx
GjAYBgNVBAMMEVR3aW50YWJsZSB0ZXN0IENBMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAE+2zqBtiqs2lbXUudeJXaTSxpmmpjf2K64GqDBiY3Ul9BvaVCEDs8i1Yc
sAXLB4aQgEoGuFBYhlXaqxBv5d06f6MyMDAwDwYDVR0TAQH/BAUwAwEB/zAdBgNV
HQ4EFgQUoUxpir8aflerukYnRA57qc1X3Z4wCgYIKoZIzj0EAwIDRwAwRAIgAklk
bVi1w+GIRxzNjR4vJrmwvKy2/ddOjco6oXXE4pYCIA2GzAFUW2qsrSGGwl+adRY1
Oi0efpDaeJmuX3/dl7fA
-----END CERTIFICATE-----
`;

export const serverCert = `-----BEGIN CERTIFICATE-----
MIIBizCCATGgAwIBAgICEAEwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwRVHdpbnRh
YmxlIHRlc3QgQ0EwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBQx
EjAQBgNVBAMMCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABMR2
lLFvXJnzYYVj87bzXL3JdtMjkClSLeNRFRHkQ6ahMhVEQ7wwdarGGiizN/GFu9av
li5Oni6zlXHq98iQdU6jaTBnMBoGA1UdEQQTMBGCCWxvY2FsaG9zdIcEfwAAATAJ
BgNVHRMEAjAAMB0GA1UdDgQWBBRmUaN7CAmEgxQiuxdrZY9uVpCapTAfBgNVHSME
GDAWgBShTGmKvxp+V6u6RidEDnupzVfdnjAKBggqhkjOPQQDAgNIADBFAiBckoeG
TdN1siMAVvPYcTbLwTBVT4diDAaYrP5WXzyMhAIhALij5Nc6pGlfx54qMnRhuX8y
Cc+zWr7Rx+KyT4gYnD/f
-----END CERTIFICATE-----
`;

export const serverKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTicEd+G8GeYK1YOQ
UOIPakXIpUQy2VUTSjq82BkdsnihRANCAATEdpSxb1yZ82GFY/O281y9yXbTI5Ap
Ui3jURUR5EOmoTIVREO8MHWqxhooszfxhbvWr5YuTp4us5Vx6vfIkHVO
-----END PRIVATE KEY-----
`;

export const deviceCert = `-----BEGIN CERTIFICATE-----
MIIBhzCCAS2gAwIBAgICEAIwCgYIKoZIzj0EAwIwHDEaMBgGA1UEAwwRVHdpbnRh
YmxlIHRlc3QgQ0EwIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBaMBAx
DjAMBgNVBAMMBWRldi0xMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE2CzciN8e
9w0Fi2F7jO3tig05LMQWWUwPRp57kZ5mPYPUy/5raiRwMIuM/ikXYmAGNysS1lYi
VdTNG4pzuKYUT6NpMGcwGgYDVR0RBBMwEYIJbG9jYWxob3N0hwR/AAABMAkGA1Ud
EwQCMAAwHQYDVR0OBBYEFBLQP5PZUIf3+fp1pmOJgSi04rv/MB8GA1UdIwQYMBaA
FKFMaYq/Gn5Xq7pGJ0QOe6nNV92eMAoGCCqGSM49BAMCA0gAMEUCICXxabqgH7B2
YVZBmQAx0Z+kyk3IahsDOqxrhvD+HKVJAiEAp1TlQD1w1IGRwxUJvcDpaxVk4ddw
oW/zFB8tH5j6PMI=
-----END CERTIFICATE-----
`;

export const deviceKey = `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgRLDnzKm3i4GTY3S0
JOlyBVsKtFlfaBOjv81D48/8JzChRANCAATYLNyI3x73DQWLYXuM7e2KDTksxBZZ
TA9GnnuRnmY9g9TL/mtqJHAwi4z+KRdiYAY3KxLWViJV1M0binO4phRP
-----END PRIVATE KEY-----
`;
