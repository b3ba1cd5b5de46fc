#!/bin/sh
# Makes what compose.yaml needs and no repository should hold, in examples/compose/etc (or the folder given): an authority, the
# broker's certificate for "mosquitto" and "localhost", and the token of the HTTP API. What is there is kept.
set -eu
cd "${1:-$(dirname "$0")/etc}"
umask 022
[ -e api-token ] || openssl rand -hex 32 >api-token
if [ ! -e server.crt ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=Twintable example CA" \
    -keyout ca.key -out ca.crt 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=mosquitto -keyout server.key -out server.csr 2>/dev/null
  printf 'subjectAltName = DNS:mosquitto, DNS:localhost, IP:127.0.0.1\n' >server.ext
  openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile server.ext -out server.crt 2>/dev/null
  rm server.csr server.ext
fi
# The services run as uid 1993. Where the files can't be given to it, everybody on this machine may read them: an example's secrets.
if chown 1993 server.key api-token 2>/dev/null; then chmod 400 server.key api-token; else chmod 444 server.key api-token; fi
chmod 400 ca.key
echo "certificates and the API's token are in $(pwd)"
