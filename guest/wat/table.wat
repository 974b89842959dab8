;; Grows its table until that is refused, then traps: no language's compiler would let it. For
;; wasi:http 0.2; `host serve` takes it as it is.
;; Learnt from it: a table has a bound too, and a guest at it hurts itself alone.
(component
  (import "wasi:http/types@0.2.0" (instance $types
    (export "incoming-request" (type (sub resource)))
    (export "response-outparam" (type (sub resource)))))
  (alias export $types "incoming-request" (type $request))
  (alias export $types "response-outparam" (type $out))
  (core module $module
    (table $table 1 funcref)
    (func (export "handle") (param i32 i32)
      (loop $more
        (br_if $more
          (i32.ne (table.grow $table (ref.null func) (i32.const 1000)) (i32.const -1))))
      unreachable))
  (core instance $core (instantiate $module))
  (func $handle (param "request" (own $request)) (param "response-out" (own $out))
    (canon lift (core func $core "handle")))
  (instance $handler (export "handle" (func $handle)))
  (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
