"""The waiter's addresses."""

from django.urls import path

from waiter import views

urlpatterns = [path("bills/<uuid:bill>/payments", views.pay, name="bill-payments")]
