;; The application behind the plugin, while you have none of your own. It answers 200, `hello from the
;; app`, and then what the request's body brings, piece by piece as it comes. The host reads it as it
;; stands here: nothing has to be built.
(component
  ;; What it takes of WASI 0.2. Most of this is the list of errors, which the types ask for.
  (import "wasi:io/error@0.2.0" (instance $errors (export "error" (type (sub resource)))))
  (alias export $errors "error" (type $io-error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $io-error (type $of-io))
    (export "error" (type $error (eq $of-io)))
    (export "input-stream" (type $input (sub resource)))
    (export "output-stream" (type $output (sub resource)))
    (type $failed (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $failed)))
    (export "[method]output-stream.blocking-write-and-flush" (func
      (param "self" (borrow $output)) (param "contents" (list u8))
      (result (result (error $stream-error)))))
    (export "[method]output-stream.blocking-splice" (func
      (param "self" (borrow $output)) (param "src" (borrow $input)) (param "len" u64)
      (result (result u64 (error $stream-error)))))
    (export "[method]output-stream.blocking-flush" (func
      (param "self" (borrow $output))
      (result (result (error $stream-error)))))))
  (alias export $streams "input-stream" (type $input))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:http/types@0.2.0" (instance $http
    (alias outer 1 $input (type $of-input))
    (export "input-stream" (type $input (eq $of-input)))
    (alias outer 1 $output (type $of-output))
    (export "output-stream" (type $output (eq $of-output)))
    (type $dns (record (field "rcode" (option string)) (field "info-code" (option u16))))
    (export "DNS-error-payload" (type $dns-error (eq $dns)))
    (type $tls (record (field "alert-id" (option u8)) (field "alert-message" (option string))))
    (export "TLS-alert-received-payload" (type $tls-alert (eq $tls)))
    (type $size (record (field "field-name" (option string)) (field "field-size" (option u32))))
    (export "field-size-payload" (type $field-size (eq $size)))
    (type $code (variant
      (case "DNS-timeout") (case "DNS-error" $dns-error) (case "destination-not-found")
      (case "destination-unavailable") (case "destination-IP-prohibited")
      (case "destination-IP-unroutable") (case "connection-refused") (case "connection-terminated")
      (case "connection-timeout") (case "connection-read-timeout") (case "connection-write-timeout")
      (case "connection-limit-reached") (case "TLS-protocol-error") (case "TLS-certificate-error")
      (case "TLS-alert-received" $tls-alert) (case "HTTP-request-denied")
      (case "HTTP-request-length-required") (case "HTTP-request-body-size" (option u64))
      (case "HTTP-request-method-invalid") (case "HTTP-request-URI-invalid")
      (case "HTTP-request-URI-too-long") (case "HTTP-request-header-section-size" (option u32))
      (case "HTTP-request-header-size" (option $field-size))
      (case "HTTP-request-trailer-section-size" (option u32))
      (case "HTTP-request-trailer-size" $field-size) (case "HTTP-response-incomplete")
      (case "HTTP-response-header-section-size" (option u32))
      (case "HTTP-response-header-size" $field-size) (case "HTTP-response-body-size" (option u64))
      (case "HTTP-response-trailer-section-size" (option u32))
      (case "HTTP-response-trailer-size" $field-size)
      (case "HTTP-response-transfer-coding" (option string))
      (case "HTTP-response-content-coding" (option string)) (case "HTTP-response-timeout")
      (case "HTTP-upgrade-failed") (case "HTTP-protocol-error") (case "loop-detected")
      (case "configuration-error") (case "internal-error" (option string))))
    (export "error-code" (type $error-code (eq $code)))
    (export "fields" (type $fields (sub resource)))
    (export "incoming-request" (type $request (sub resource)))
    (export "incoming-body" (type $incoming (sub resource)))
    (export "outgoing-response" (type $response (sub resource)))
    (export "outgoing-body" (type $outgoing (sub resource)))
    (export "response-outparam" (type $outparam (sub resource)))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]incoming-request.consume" (func
      (param "self" (borrow $request)) (result (result (own $incoming)))))
    (export "[method]incoming-body.stream" (func
      (param "self" (borrow $incoming)) (result (result (own $input)))))
    (export "[constructor]outgoing-response" (func
      (param "headers" (own $fields)) (result (own $response))))
    (export "[method]outgoing-response.body" (func
      (param "self" (borrow $response)) (result (result (own $outgoing)))))
    (export "[method]outgoing-body.write" (func
      (param "self" (borrow $outgoing)) (result (result (own $output)))))
    (export "[static]outgoing-body.finish" (func
      (param "this" (own $outgoing)) (param "trailers" (option (own $fields)))
      (result (result (error $error-code)))))
    (export "[static]response-outparam.set" (func
      (param "param" (own $outparam))
      (param "response" (result (own $response) (error $error-code)))))))
  (alias export $http "incoming-request" (type $request))
  (alias export $http "incoming-body" (type $incoming))
  (alias export $http "response-outparam" (type $outparam))

  ;; Results of calls are at 0, the text at 256; errors that come with a text have room from 1024 on.
  (core module $memory
    (memory (export "memory") 1)
    (data (i32.const 256) "hello from the app\n")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $fields (canon lower (func $http "[constructor]fields")))
  (core func $consume
    (canon lower (func $http "[method]incoming-request.consume") (memory $mem)))
  (core func $stream (canon lower (func $http "[method]incoming-body.stream") (memory $mem)))
  (core func $response (canon lower (func $http "[constructor]outgoing-response")))
  (core func $body (canon lower (func $http "[method]outgoing-response.body") (memory $mem)))
  (core func $write (canon lower (func $http "[method]outgoing-body.write") (memory $mem)))
  (core func $finish
    (canon lower (func $http "[static]outgoing-body.finish") (memory $mem) (realloc $realloc)))
  (core func $set
    (canon lower (func $http "[static]response-outparam.set") (memory $mem) (realloc $realloc)))
  (core func $put (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $splice
    (canon lower (func $streams "[method]output-stream.blocking-splice") (memory $mem)))
  (core func $flush
    (canon lower (func $streams "[method]output-stream.blocking-flush") (memory $mem)))
  (core func $drop-input (canon resource.drop $input))
  (core func $drop-output (canon resource.drop $output))
  (core func $drop-incoming (canon resource.drop $incoming))
  (core func $drop-request (canon resource.drop $request))

  (core module $app
    (import "memory" "memory" (memory 1))
    (import "wasi" "fields" (func $fields (result i32)))
    (import "wasi" "consume" (func $consume (param i32 i32)))
    (import "wasi" "stream" (func $stream (param i32 i32)))
    (import "wasi" "response" (func $response (param i32) (result i32)))
    (import "wasi" "body" (func $body (param i32 i32)))
    (import "wasi" "write" (func $write (param i32 i32)))
    (import "wasi" "finish" (func $finish (param i32 i32 i32 i32)))
    (import "wasi" "set" (func $set (param i32 i32 i32 i32 i64 i32 i32 i32 i32)))
    (import "wasi" "put" (func $put (param i32 i32 i32 i32)))
    (import "wasi" "splice" (func $splice (param i32 i32 i64 i32)))
    (import "wasi" "flush" (func $flush (param i32 i32)))
    (import "wasi" "drop-input" (func $drop-input (param i32)))
    (import "wasi" "drop-output" (func $drop-output (param i32)))
    (import "wasi" "drop-incoming" (func $drop-incoming (param i32)))
    (import "wasi" "drop-request" (func $drop-request (param i32)))
    (func (export "handle") (param $request i32) (param $outparam i32)
      (local $response i32) (local $incoming i32) (local $outgoing i32)
      (local $from i32) (local $to i32)
      (call $consume (local.get $request) (i32.const 0))
      (local.set $incoming (i32.load (i32.const 4)))
      (call $stream (local.get $incoming) (i32.const 0))
      (local.set $from (i32.load (i32.const 4)))
      (local.set $response (call $response (call $fields)))
      (call $body (local.get $response) (i32.const 0))
      (local.set $outgoing (i32.load (i32.const 4)))
      (call $write (local.get $outgoing) (i32.const 0))
      (local.set $to (i32.load (i32.const 4)))
      (call $set (local.get $outparam) (i32.const 0) (local.get $response)
        (i32.const 0) (i64.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
      (call $put (local.get $to) (i32.const 256) (i32.const 19) (i32.const 0))
      ;; Until the request's body is at its end, or one of the two sides fails.
      (loop $more
        (call $splice (local.get $to) (local.get $from) (i64.const 65536) (i32.const 0))
        (if (i32.eqz (i32.load8_u (i32.const 0))) (then
          (call $flush (local.get $to) (i32.const 0))
          (br_if $more (i32.eqz (i32.load8_u (i32.const 0)))))))
      (call $drop-input (local.get $from))
      (call $drop-incoming (local.get $incoming))
      (call $drop-request (local.get $request))
      (call $drop-output (local.get $to))
      (call $finish (local.get $outgoing) (i32.const 0) (i32.const 0) (i32.const 0))))
  (core instance $app (instantiate $app
    (with "memory" (instance $memory))
    (with "wasi" (instance
      (export "fields" (func $fields)) (export "consume" (func $consume))
      (export "stream" (func $stream)) (export "response" (func $response))
      (export "body" (func $body)) (export "write" (func $write))
      (export "finish" (func $finish)) (export "set" (func $set))
      (export "put" (func $put)) (export "splice" (func $splice))
      (export "flush" (func $flush)) (export "drop-input" (func $drop-input))
      (export "drop-output" (func $drop-output)) (export "drop-incoming" (func $drop-incoming))
      (export "drop-request" (func $drop-request))))))
  (func $handle (param "request" (own $request)) (param "response-out" (own $outparam))
    (canon lift (core func $app "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
