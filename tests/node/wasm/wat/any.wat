;; A job1 module whose parts a test gives: %(imports)s etc. By default it completes with nothing.
(module
  %(imports)s
  (memory (export "memory") %(pages)d)
  (data (i32.const 128) "{\"completed\":{}}")
  (func (export "job_abi") (result i32) (i32.const %(abi)d))
  (func (export "alloc") (param $len i32) (result i32) %(alloc)s)
  (func (export "handle") (param $ptr i32) (param $len i32) (result i64)
    (local $i i32)
    %(handle)s)
  %(rest)s)
