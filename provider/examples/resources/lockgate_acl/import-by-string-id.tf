import {
  to = lockgate_acl.billing_reads_orders
  id = "User:billing|*|Describe,Read|Allow|Topic|orders|Literal"
}
