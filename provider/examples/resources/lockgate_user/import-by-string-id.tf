import {
  to = lockgate_user.billing
  id = "billing"
}
