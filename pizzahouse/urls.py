"""The house's pages: the admin; where a payment service calls; the metrics."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from pizzahouse.messaging.views import metrics

urlpatterns = [
    path("admin/office/", include("orders.office.urls")),
    path("admin/", admin.site.urls),
    path("waiter/", include("waiter.urls")),
    path("metrics", metrics, name="metrics"),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
